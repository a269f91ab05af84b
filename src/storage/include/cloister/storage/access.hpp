#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/sealing.hpp"

namespace cloister::storage {

/// Sessions, each with a state that is sealed at rest. Thread-safe; the sealer outlives it.
class Sessions {
 public:
  explicit Sessions(Sealer& sealer) : sealer_{sealer} {}

  struct Record {
    SessionId id;
    TenantId tenant;
    std::string subject;  // the instance, validator or operator that it belongs to
    UnixTime created{};
    UnixTime expires{};
    bool revoked = false;
    crypto::SecretBytes state;  // of the session module: opaque here
  };
  /// `conflict` when the id is taken.
  [[nodiscard]] Result<void> add(Transaction& transaction, const Record& session);
  /// `not_found`. Whether it is still good (expiry, revocation) is the caller's to check.
  [[nodiscard]] Result<Record> get(const Reading& reading, const SessionId& session);
  /// `not_found`; revoking twice succeeds.
  [[nodiscard]] Result<void> revoke(Transaction& transaction, const SessionId& session) const;
  /// Revokes all sessions of a subject; returns how many.
  [[nodiscard]] Result<std::uint64_t> revoke_subject(Transaction& transaction, std::string_view subject) const;

 private:
  Sealer& sealer_;
};

/// Nonces that serve once.
namespace nonces {
/// `conflict` when it was issued before.
[[nodiscard]] Result<void> issue(Transaction& transaction, const ByteArray<32>& nonce, std::string_view purpose,
                                 UnixTime expires);
/// Uses it up. `nonce_invalid` when it was not issued for this purpose, was used, or expired (at `expires` it has).
[[nodiscard]] Result<void> consume(Transaction& transaction, const ByteArray<32>& nonce, std::string_view purpose,
                                   UnixTime now);
/// Forgets expired ones; returns how many.
[[nodiscard]] Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now);
}  // namespace nonces

/// Tokens of operators and clients: what was issued, and whether it still counts. The token itself is not kept.
namespace tokens {
struct Record {
  std::string id;    // an id (core/ids.hpp): the token's "jti"
  std::string role;  // an id
  TenantId tenant;
  std::string name;  // for people: who has it
  UnixTime created{};
  std::optional<UnixTime> expires;
  bool revoked = false;
};
/// `conflict` when the id is taken.
[[nodiscard]] Result<void> add(Transaction& transaction, const Record& token);
/// `not_found`.
[[nodiscard]] Result<Record> get(const Reading& reading, std::string_view id);
/// All, or one tenant's, newest first.
[[nodiscard]] Result<std::vector<Record>> list(const Reading& reading,
                                               const std::optional<TenantId>& tenant = std::nullopt);
/// Whether an administrator's token was ever issued for that tenant.
[[nodiscard]] Result<bool> administered(const Reading& reading, const TenantId& tenant);
/// `not_found`; revoking twice succeeds.
[[nodiscard]] Result<void> revoke(Transaction& transaction, std::string_view id);
}  // namespace tokens

/// Named values of the server itself that outlive a restart (its id, its static keys: sealed by the caller).
namespace settings {
/// `not_found`.
[[nodiscard]] Result<Bytes> get(const Reading& reading, std::string_view name);
/// Sets or replaces.
[[nodiscard]] Result<void> set(Transaction& transaction, std::string_view name, ByteView value);
}  // namespace settings

}  // namespace cloister::storage
