#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/model/derived_key.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/sealing.hpp"

namespace cloister::storage {

/// The versions of tenants' derived keys and who gets them; the keys themselves are nowhere. Each version is sealed
/// where it stands: one that was changed, or moved to another key, version or tenant, does not open
/// (`storage_corrupt`). Thread-safe; the sealer outlives it.
class DerivedKeys {
 public:
  explicit DerivedKeys(Sealer& sealer) : sealer_{sealer} {}

  /// Adds a version, which the caller has checked; `conflict` when there is one of that number.
  [[nodiscard]] Result<void> add(Transaction& transaction, const TenantId& tenant, const ChallengeId& challenge,
                                 std::string_view purpose, const model::DerivedKeyVersion& version);
  /// Every version of one key, oldest first; empty when there is none.
  [[nodiscard]] Result<std::vector<model::DerivedKeyVersion>> versions(const Reading& reading, const TenantId& tenant,
                                                                       const ChallengeId& challenge,
                                                                       std::string_view purpose);
  /// Every key of the tenant, by challenge and purpose.
  [[nodiscard]] Result<std::vector<model::DerivedKey>> list(const Reading& reading, const TenantId& tenant);
  /// Since when a version is released to nobody, which is never taken back. `not_found`, `conflict` for one that is
  /// revoked.
  [[nodiscard]] Result<void> revoke(Transaction& transaction, const TenantId& tenant, const ChallengeId& challenge,
                                    std::string_view purpose, std::uint64_t version, UnixTime now);

 private:
  struct Row;
  [[nodiscard]] Result<model::DerivedKeyVersion> open(const Reading& reading, const TenantId& tenant, const Row& row);
  [[nodiscard]] Result<Bytes> seal(Transaction& transaction, const TenantId& tenant, const ChallengeId& challenge,
                                   std::string_view purpose, const model::DerivedKeyVersion& version);
  Sealer& sealer_;
};

}  // namespace cloister::storage
