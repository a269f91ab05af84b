#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/keybroker/derived_keys.hpp"
#include "cloister/kms/kms.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/protocol/messages.hpp"
#include "cloister/session/attested.hpp"
#include "cloister/storage/secrets.hpp"

namespace cloister::keybroker {

/// That this session may have this version of this secret, now. Made by `Broker::decide` only, used up by `release`.
class ReleaseDecision {
 public:
  ReleaseDecision(ReleaseDecision&&) noexcept = default;
  ReleaseDecision& operator=(ReleaseDecision&&) noexcept = default;
  [[nodiscard]] const SessionId& session() const noexcept { return session_; }
  [[nodiscard]] const model::SecretRef& secret() const noexcept { return secret_; }
  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
  [[nodiscard]] const Digest32& policy_digest() const noexcept { return policy_digest_; }

 private:
  friend class Broker;
  ReleaseDecision() = default;
  SessionId session_;
  TenantId tenant_;
  model::SecretRef secret_;
  std::uint64_t version_ = 0;
  Digest32 policy_digest_{};
};

inline constexpr std::string_view kSecretReleased = "secret.released";  // subject: the path
inline constexpr std::string_view kSecretRefused = "secret.refused";    // to an attested session
inline constexpr std::string_view kSecretStored = "secret.stored";
inline constexpr std::string_view kSecretRemoved = "secret.removed";

/// Thread-safe; what it is made from outlives it.
class Broker {
 public:
  Broker(storage::Database& database, storage::Sealer& sealer, const kms::Kms& kms, audit::Log& log, Random& random)
      : database_{database},
        secrets_{sealer},
        derived_keys_{database, sealer, kms, log, random},
        log_{log},
        random_{random} {}

  [[nodiscard]] DerivedKeys& derived_keys() noexcept { return derived_keys_; }

  /// A new version of a tenant's secret; returns its number. `who` is the operator's name, for the audit log.
  [[nodiscard]] Result<std::uint64_t> put(const TenantId& tenant, std::string_view path, ByteView value,
                                          std::string_view who, UnixTime now);
  [[nodiscard]] Result<std::vector<storage::Secrets::Info>> list(const TenantId& tenant) const;
  [[nodiscard]] Result<void> remove(const TenantId& tenant, std::string_view path, std::string_view who, UnixTime now);

  /// Whether this session may have a secret. `permission_denied` alike for a session that has expired or is no
  /// instance's, and for a secret that its version does not name or that does not exist.
  /// A refusal is in the audit log when this returns.
  [[nodiscard]] Result<ReleaseDecision> decide(const session::AttestedSession& session, const model::SecretRef& secret,
                                               UnixTime now);
  /// The secret, sealed to the session's payload key. The audit leaf is committed before anything is returned.
  [[nodiscard]] Result<protocol::SealedSecret> release(const session::AttestedSession& session,
                                                       ReleaseDecision decision, UnixTime now);
  /// Every secret that the session's version names, and every version that it may have of the derived keys that it
  /// names, at least one of each: all or none.
  [[nodiscard]] Result<protocol::Release> release_all(const session::AttestedSession& session, UnixTime now);

 private:
  [[nodiscard]] Result<ReleaseDecision> judge(const session::AttestedSession& session, const model::SecretRef& secret,
                                              UnixTime now) const;
  [[nodiscard]] Result<void> record_refusal(const session::AttestedSession& session, const model::SecretRef& secret,
                                            Errc code, UnixTime now);
  storage::Database& database_;
  mutable storage::Secrets secrets_;  // opens values, which only caches keys
  DerivedKeys derived_keys_;
  audit::Log& log_;
  Random& random_;
};

}  // namespace cloister::keybroker
