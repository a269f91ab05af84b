#pragma once

#include <chrono>

#include "cloister/collateral/entry.hpp"

/// When a cached document may be used, is to be asked for again, and how long a failing service is left alone. Pure.
namespace cloister::collateral {

struct Freshness {
  /// A document is asked for again this long after it was last known to be the newest. A TCB recovery shows then.
  std::chrono::seconds refresh_every{24 * 60 * 60};
  /// Before its end a document is asked for again more often (`refresh_every` / 24), from this long before, at most for
  /// half of its life.
  std::chrono::seconds refresh_ahead{72 * 60 * 60};
  /// How long after its end a document is given while nobody gives a newer one. The verifier still says what it is.
  std::chrono::seconds grace{0};
};

enum class Age {
  current,  // nothing to do
  due,      // good, and to be asked for again
  expired,  // over, within the grace
  gone,     // over
};
/// Documents that never change are current until they end. A check that lies in the future counts as none.
[[nodiscard]] Age age_of(const Entry& entry, const Freshness& freshness, UnixTime now) noexcept;

/// How long a service is left alone after this many failures in a row (at least one): 1 s, doubled each time, at most
/// five minutes.
[[nodiscard]] std::chrono::seconds back_off(unsigned failures) noexcept;

/// Whether `fresh` may take the place of `old`: `collateral_outdated` for a document that is older by its issue date, or
/// whose evaluation number is lower, so that nobody on the way can bring back an earlier one.
[[nodiscard]] Result<void> may_replace(const Document& old, const Document& fresh);

}  // namespace cloister::collateral
