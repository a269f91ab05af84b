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

/// Handshakes of guests with the key broker: what was asked, the nonce that serves once, and the token that came of it.
/// Nothing here is secret: a token opens only what is sealed to the key in it, and is verified whenever it is used.
namespace cloister::storage::broker_sessions {

using Id = ByteArray<16>;

struct Record {
  ByteArray<32> nonce{};
  std::string tee;
  UnixTime expires{};
  bool attempted = false;            // its nonce is used up
  std::optional<std::string> token;  // of an attempt that succeeded
};
/// A session whose nonce waits to be used. `conflict` when the id is taken.
[[nodiscard]] Result<void> add(Transaction& transaction, const TenantId& tenant, const Id& id, const ByteArray<32>& nonce,
                               std::string_view tee, UnixTime expires);
/// `not_found`, also for one that has expired (at `expires` it has), and for another tenant's.
[[nodiscard]] Result<Record> get(const Reading& reading, const TenantId& tenant, const Id& id, UnixTime now);
/// Those of a tenant that have not expired, or of these only those with a token; at most `limit`, the last to expire first.
[[nodiscard]] Result<std::vector<std::pair<Id, Record>>> list(const Reading& reading, const TenantId& tenant, UnixTime now,
                                                              std::uint32_t limit, bool attested_only = false);
/// How many there are of all tenants.
[[nodiscard]] Result<std::uint64_t> count(const Reading& reading, UnixTime now);
/// The one attempt, with its token if it succeeded. `nonce_invalid` when there was one before, and for a session that is
/// not there or has expired: of two at once, one gets here first.
[[nodiscard]] Result<void> conclude(Transaction& transaction, const Id& id, const std::optional<std::string>& token, UnixTime now);
/// Forgets expired ones; returns how many.
[[nodiscard]] Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now);

}  // namespace cloister::storage::broker_sessions
