#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/storage/database.hpp"

/// Sessions of guests with the key broker that had their attempt: nonces that served, and the tokens that came of them.
/// Nothing here is secret: a token opens only what is sealed to the key in it, and is verified whenever it is used.
namespace cloister::storage::broker_sessions {

/// Ids that are alike at their beginning are written together: let them begin with a time.
using Id = ByteArray<16>;

struct Record {
  std::string tee;
  UnixTime expires{};
  std::optional<std::string> token;  // of an attempt that succeeded
};
/// The one attempt of a session, with its token if it succeeded. `nonce_invalid` when there was one before: of two at once,
/// one gets here first. Also for a session that has expired, or did so before the latest `sweep`, whatever the clock says now.
[[nodiscard]] Result<void> conclude(Transaction& transaction, const TenantId& tenant, const Id& id, const Record& record, UnixTime now);
/// `not_found`, also for one that has expired (at `expires` it has), and for another tenant's.
[[nodiscard]] Result<Record> get(const Reading& reading, const TenantId& tenant, const Id& id, UnixTime now);
/// Those of a tenant that have not expired, or of these only those with a token; at most `limit`, the last to expire first.
[[nodiscard]] Result<std::vector<std::pair<Id, Record>>> list(const Reading& reading, const TenantId& tenant, UnixTime now,
                                                              std::uint32_t limit, bool attested_only = false);
/// How many there are of all tenants.
[[nodiscard]] Result<std::uint64_t> count(const Reading& reading, UnixTime now);
/// Forgets expired ones; returns how many. No session that has expired by `now` can be concluded from then on.
[[nodiscard]] Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now);

}  // namespace cloister::storage::broker_sessions
