#pragma once

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/guest.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/revocation/list.hpp"

namespace cloister::kbs {

/// What is revoked of one tenant's guests, by its own administrators and, of all tenants, by the server's. Thread-safe.
class Revocations {
 public:
  Revocations(const Services& services, const Options& options)
      : own_{{services.database, services.log, services.random}, options.tenant}, everywhere_{services.revoked} {}

  /// The tenant's own entries.
  [[nodiscard]] revocation::List& own() noexcept { return own_; }
  /// `attestation_revoked`. To be asked while a transaction is held, what it says stands in the log before later entries.
  [[nodiscard]] Result<void> check(const AttestedGuest& guest, UnixTime now) const {
    CLOISTER_CHECK(own_.check(guest.subjects(), now));
    return everywhere_.check(guest.subjects(), now);
  }

 private:
  revocation::List own_;
  const revocation::List& everywhere_;
};

}  // namespace cloister::kbs
