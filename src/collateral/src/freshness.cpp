#include "cloister/collateral/freshness.hpp"

#include <algorithm>

namespace cloister::collateral {

Age age_of(const Entry& entry, const Freshness& freshness, UnixTime now) noexcept {
  constexpr int kOftener = 24;
  const auto& document = entry.document;
  if (now >= document.expires + freshness.grace) return Age::gone;
  if (now >= document.expires) return Age::expired;
  if (is_permanent(document.key)) return Age::current;
  if (entry.checked > now) return Age::due;
  const auto half_life = std::chrono::duration_cast<std::chrono::seconds>(document.expires - document.issued) / 2;
  const bool ends_soon = document.expires - now <= std::min(freshness.refresh_ahead, half_life);
  const auto every = ends_soon ? freshness.refresh_every / kOftener : freshness.refresh_every;
  return now - entry.checked >= every ? Age::due : Age::current;
}

std::chrono::seconds back_off(unsigned failures) noexcept {
  constexpr std::chrono::seconds kMost{300};
  constexpr unsigned kDoublings = 9;  // 512 s, above the most
  return std::min(kMost, std::chrono::seconds{1LL << std::min(failures > 0 ? failures - 1 : 0, kDoublings)});
}

Result<void> may_replace(const Document& old, const Document& fresh) {
  if (fresh.issued < old.issued) {
    return Error{Errc::collateral_outdated, to_string(fresh.key) + ": the service gives one of " + to_rfc3339(fresh.issued) +
                                                ", older than the one of " + to_rfc3339(old.issued) + " that is here"};
  }
  if (old.evaluation_number && fresh.evaluation_number < old.evaluation_number) {
    return Error{Errc::collateral_outdated, to_string(fresh.key) + ": tcbEvaluationDataNumber went back from " +
                                                std::to_string(*old.evaluation_number) + " to " +
                                                std::to_string(fresh.evaluation_number.value_or(0))};
  }
  return {};
}

}  // namespace cloister::collateral
