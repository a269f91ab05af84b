#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/protocol/launch.hpp"

namespace cloister::policy {
namespace {

using attestation::Claims;

/// Collects the reasons of one decision.
class Judge {
 public:
  Judge(const Policy& policy, const attestation::AuthenticEvidence& evidence) : policy_{policy}, evidence_{evidence} {}

  std::vector<Reason> reasons() && {
    status();
    attributes();
    trailing_bytes();
    evaluation_numbers();
    advisories();
    measurements();
    return std::move(reasons_);
  }

 private:
  void refuse(Errc code, std::string detail) { reasons_.push_back({code, std::move(detail)}); }

  void status() {
    const auto got = evidence_.tcb().status;
    const bool listed = std::ranges::find(policy_.accepted_statuses, got) != policy_.accepted_statuses.end();
    const bool hopeless = got == attestation::TcbStatus::revoked || got == attestation::TcbStatus::not_supported;
    if (!listed || hopeless) refuse(Errc::tcb_status_not_accepted, "the TCB is " + std::string{attestation::to_string(got)});
  }

  void attributes() {
    const auto found = attestation::attribute_findings(evidence_.claims());
    if (found.debug && !policy_.allow_debug) refuse(Errc::debug_not_accepted, "it runs under debug: its memory is not private");
    if (found.migratable && !policy_.allow_migratable) refuse(Errc::attributes_not_accepted, "the TD is migratable");
    const bool td = evidence_.claims().td() != nullptr;
    if (td && found.ve_not_disabled && policy_.require_ve_disable) {
      refuse(Errc::attributes_not_accepted, "SEPT_VE_DISABLE is not set");
    }
    if (found.reserved_bits && !policy_.allow_reserved_attributes) {
      refuse(Errc::attributes_not_accepted, "reserved bits of TDATTRIBUTES are set");
    }
  }

  void trailing_bytes() {
    const auto count = evidence_.report().trailing_bytes;
    if (count > 0 && !policy_.allow_trailing_bytes) {
      refuse(Errc::trailing_bytes_not_accepted, std::to_string(count) + " bytes follow the quote");
    }
  }

  void evaluation_numbers() {
    const auto at_least = [&](std::string_view document, std::uint32_t number) {
      if (number >= policy_.min_evaluation_data_number) return;
      refuse(Errc::evaluation_data_number_too_low, std::string{document} + " has number " + std::to_string(number) + ", at least " +
                                                       std::to_string(policy_.min_evaluation_data_number) + " demanded");
    };
    at_least("the TCB info", evidence_.tcb().tcb_info_number);
    at_least("the QE identity", evidence_.tcb().qe_identity_number);
  }

  void advisories() {
    const auto in = [](const std::vector<std::string>& list, const std::string& id) {
      return std::ranges::find(list, id) != list.end();
    };
    for (const auto& id : evidence_.tcb().advisory_ids) {
      if (in(policy_.denied_advisories, id)) {
        refuse(Errc::advisory_not_accepted, id + " is denied");
      } else if (policy_.allowed_advisories && !in(*policy_.allowed_advisories, id)) {
        refuse(Errc::advisory_not_accepted, id + " is not among the allowed ones");
      }
    }
  }

  void measurements() {
    if (policy_.measurements.empty()) return;
    const auto fits = [&](const Measurements& wanted) { return has(evidence_.claims(), wanted); };
    if (std::ranges::any_of(policy_.measurements, fits)) return;
    refuse(Errc::measurement_not_accepted, "none of " + std::to_string(policy_.measurements.size()) + " measurements fits; " +
                                               describe(evidence_.claims()));
  }

  template <std::size_t N>
  static bool equal(const std::optional<ByteArray<N>>& wanted, const ByteArray<N>& got) {
    return !wanted || *wanted == got;
  }

  /// A measurement without any member fits nothing.
  static bool has(const Claims& claims, const Measurements& wanted) {
    if (wanted == Measurements{}) return false;
    const bool of_td = wanted.mrtd || wanted.mr_config_id || wanted.mr_owner || wanted.mr_owner_config ||
                       std::ranges::any_of(wanted.rtmr, [](const auto& rtmr) { return rtmr.has_value(); });
    const bool of_enclave = wanted.mr_enclave || wanted.mr_signer || wanted.isv_prod_id || wanted.min_isv_svn;
    if (const auto* td = claims.td()) return !of_enclave && td_has(*td, wanted);
    return !of_td && enclave_has(*claims.sgx(), wanted);
  }
  static bool td_has(const evidence::TdBody& td, const Measurements& wanted) {
    for (std::size_t i = 0; i < td.rtmr.size(); ++i) {
      if (!equal(wanted.rtmr[i], td.rtmr[i])) return false;
    }
    return equal(wanted.mrtd, td.mr_td) && equal(wanted.mr_config_id, td.mr_config_id) &&
           equal(wanted.mr_owner, td.mr_owner) && equal(wanted.mr_owner_config, td.mr_owner_config);
  }
  static bool enclave_has(const evidence::SgxReport& enclave, const Measurements& wanted) {
    return equal(wanted.mr_enclave, enclave.mr_enclave) && equal(wanted.mr_signer, enclave.mr_signer) &&
           (!wanted.isv_prod_id || *wanted.isv_prod_id == enclave.isv_prod_id) &&
           (!wanted.min_isv_svn || *wanted.min_isv_svn <= enclave.isv_svn);
  }

  static std::string describe(const Claims& claims) {
    if (const auto* td = claims.td()) return "MRTD " + codec::to_hex(td->mr_td) + ", RTMR3 " + codec::to_hex(td->rtmr[3]);
    return "MRENCLAVE " + codec::to_hex(claims.sgx()->mr_enclave) + ", MRSIGNER " + codec::to_hex(claims.sgx()->mr_signer);
  }

  const Policy& policy_;
  const attestation::AuthenticEvidence& evidence_;
  std::vector<Reason> reasons_;
};

}  // namespace

struct Appraiser {
  static Appraised make(attestation::BoundEvidence evidence, const Digest32& policy) {
    return Appraised{std::move(evidence), policy};
  }
};

Digest48 launch_rtmr3(const Digest32& configuration_digest) {
  return measure::rtmr_extend({}, evidence::guest_event_digest(protocol::kConfigurationEvent, configuration_digest));
}

Digest48 launch_rtmr3(const Digest32& image_digest, const Digest32& configuration_digest) {
  const auto image = measure::rtmr_extend({}, evidence::guest_event_digest(protocol::kImageEvent, image_digest));
  return measure::rtmr_extend(image, evidence::guest_event_digest(protocol::kConfigurationEvent, configuration_digest));
}

Measurements measurements_of(const ReferenceValue& value) {
  Measurements out;
  out.mrtd = value.mrtd;
  out.rtmr = {Digest48{}, Digest48{}, Digest48{}, launch_rtmr3(value.image_digest, value.configuration_digest)};
  return out;
}

Error Decision::error() const {
  CLOISTER_ASSERT(!reasons.empty());
  return Error{reasons.front().code, reasons.front().detail};
}

Decision decide(const Policy& policy, const attestation::AuthenticEvidence& evidence) {
  auto reasons = Judge{policy, evidence}.reasons();
  const bool accepted = reasons.empty();
  return {.accepted = accepted, .reasons = std::move(reasons), .policy_digest = digest(policy)};
}

Appraisal appraise(const Policy& policy, attestation::BoundEvidence evidence) {
  Appraisal out{decide(policy, evidence.authentic()), std::nullopt};
  if (out.decision.accepted) out.appraised = Appraiser::make(std::move(evidence), out.decision.policy_digest);
  return out;
}

}  // namespace cloister::policy
