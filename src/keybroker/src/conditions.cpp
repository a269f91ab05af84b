#include "conditions.hpp"

#include <algorithm>

namespace cloister::keybroker {
namespace {

template <class T>
bool fits(const std::optional<T>& allowed, const T& found) {
  return !allowed || *allowed == found;
}

bool allows(const model::ReleaseConditions& conditions, const session::AttestedSession& session) {
  if (conditions.any_version) return true;
  if (std::ranges::find(conditions.versions, session.version()) != conditions.versions.end()) return true;
  const auto& found = session.reference();
  return std::ranges::any_of(conditions.measurements, [&](const model::AllowedMeasurement& allowed) {
    return fits(allowed.mrtd, found.mrtd) && fits(allowed.image_digest, found.image_digest) &&
           fits(allowed.configuration_digest, found.configuration_digest);
  });
}

Error below(std::string_view what, unsigned have, unsigned need) {
  return Error{Errc::tcb_too_low,
               std::string{what} + " is " + std::to_string(have) + ", at least " + std::to_string(need) + " demanded"};
}

Result<void> reach(std::string_view what, const ByteArray<16>& have, const std::optional<ByteArray<16>>& need) {
  if (!need) return {};
  for (std::size_t i = 0; i < have.size(); ++i) {
    if (have[i] < (*need)[i]) return below(std::string{what} + " component " + std::to_string(i), have[i], (*need)[i]);
  }
  return {};
}

}  // namespace

Result<void> meets(const model::ReleaseConditions& conditions, const session::AttestedSession& session) {
  if (!allows(conditions, session)) {
    return Error{Errc::measurement_not_accepted,
                 "neither " + session.version().str() + " nor what it measures as is allowed"};
  }
  const auto& floor = conditions.tcb;
  const auto& tcb = session.tcb();
  CLOISTER_CHECK(reach("TDX TCB", tcb.tdx_components, floor.tdx_components));
  CLOISTER_CHECK(reach("SGX TCB", tcb.sgx_components, floor.sgx_components));
  if (floor.pce_svn && tcb.pce_svn < *floor.pce_svn) return below("PCESVN", tcb.pce_svn, *floor.pce_svn);
  if (floor.tcb_date && (!tcb.tcb_date || *tcb.tcb_date < *floor.tcb_date)) {
    return Error{Errc::tcb_too_low, "the TCB is " +
                                        (tcb.tcb_date ? "of " + to_rfc3339(*tcb.tcb_date) : "of no known date") + ", " +
                                        to_rfc3339(*floor.tcb_date) + " or later demanded"};
  }
  return {};
}

}  // namespace cloister::keybroker
