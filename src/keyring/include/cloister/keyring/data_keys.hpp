#pragma once

#include <cstdint>
#include <string_view>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/keyring/keyring.hpp"
#include "cloister/storage/data_keys.hpp"

namespace cloister::keyring {

/// Whose key the server's own values are sealed under.
[[nodiscard]] TenantId server_tenant();

/// Rotation of the data keys that tenants' stored values are sealed under, while the server runs: `rotate`, then `step` until
/// nothing remains. What a step did is on disk when it returns, so that it goes on after whatever happened; values open at any
/// time. Thread-safe; the keyring outlives it.
class DataKeys {
 public:
  using Status = storage::data_keys::Status;
  explicit DataKeys(Keyring& keyring) : keyring_{keyring} {}

  [[nodiscard]] Result<Status> status(const TenantId& tenant) const;
  /// What is sealed from now on is under a new key; in the audit log ("data_key.rotated", of `by`) when this returns.
  /// `not_found` for a tenant that has none yet.
  [[nodiscard]] Result<Status> rotate(const TenantId& tenant, UnixTime now, std::string_view by);
  struct Step {
    std::uint64_t resealed = 0;  // values, now
    std::uint64_t retired = 0;   // older keys that were erased, when nothing remained under them ("data_key.retired")
    Status left;
  };
  /// Seals some values again that are under an older key. `decryption_failed` when one does not open: its key stays.
  [[nodiscard]] Result<Step> step(const TenantId& tenant, UnixTime now, std::string_view by);

 private:
  [[nodiscard]] Result<std::uint64_t> retire(const TenantId& tenant, UnixTime now, std::string_view by);
  Keyring& keyring_;
};

}  // namespace cloister::keyring
