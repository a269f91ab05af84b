#pragma once

#include <optional>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/storage/database.hpp"

/// Registered challenges and their versions. A challenge belongs to the tenant that registered it first.
namespace cloister::storage::challenges {

struct Challenge {
  ChallengeId id;
  TenantId tenant;
  UnixTime created{};
};
struct StoredVersion {
  TenantId tenant;
  model::Version version;
};

/// Adds a version, and its challenge where it is new. False when this very version is there already; `conflict` when
/// the id is taken by a different one, or the challenge is another tenant's.
[[nodiscard]] Result<bool> add(Transaction& transaction, const TenantId& tenant, const model::Version& version);
/// Whether instances are kept running and jobs are taken. `not_found`.
[[nodiscard]] Result<void> set_active(Transaction& transaction, const VersionId& version, bool active);

/// `not_found`.
[[nodiscard]] Result<Challenge> get(const Reading& reading, const ChallengeId& challenge);
/// All, or one tenant's, by id.
[[nodiscard]] Result<std::vector<Challenge>> list(const Reading& reading,
                                                  const std::optional<TenantId>& tenant = std::nullopt);
/// `not_found`.
[[nodiscard]] Result<StoredVersion> version(const Reading& reading, const VersionId& version);
/// Newest first.
[[nodiscard]] Result<std::vector<StoredVersion>> versions(const Reading& reading, const ChallengeId& challenge);
/// Of all challenges.
[[nodiscard]] Result<std::vector<StoredVersion>> active_versions(const Reading& reading);

}  // namespace cloister::storage::challenges
