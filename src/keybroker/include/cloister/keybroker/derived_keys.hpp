#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/kms/kms.hpp"
#include "cloister/model/derived_key.hpp"
#include "cloister/protocol/messages.hpp"
#include "cloister/session/attested.hpp"
#include "cloister/storage/derived_keys.hpp"

namespace cloister::keybroker {

/// What a version of a derived key follows from, given to `kms::Kms::derive`: deterministic CBOR of
/// ["cloister/derived-key/1", tenant, challenge, purpose, version]. The challenge is the lineage: its id is the same in
/// all of its versions.
[[nodiscard]] Bytes derivation_info(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose,
                                    std::uint64_t version);
/// SHA-256 of the JSON of the conditions (model::to_json), compact: equal conditions, equal digests.
[[nodiscard]] Digest32 digest(const model::ReleaseConditions& conditions);

/// That this session may have these versions of this derived key, now. Made by `DerivedKeys::decide` only, used up by
/// `release`.
class KeyDecision {
 public:
  struct Version {
    std::uint64_t number = 0;
    Digest32 conditions{};  // which the session met
  };
  KeyDecision(KeyDecision&&) noexcept = default;
  KeyDecision& operator=(KeyDecision&&) noexcept = default;
  [[nodiscard]] const SessionId& session() const noexcept { return session_; }
  [[nodiscard]] const ChallengeId& challenge() const noexcept { return challenge_; }
  [[nodiscard]] const std::string& purpose() const noexcept { return purpose_; }
  /// Oldest first, one at least.
  [[nodiscard]] const std::vector<Version>& versions() const noexcept { return versions_; }
  /// Of the policy that the session was appraised by.
  [[nodiscard]] const Digest32& policy_digest() const noexcept { return policy_digest_; }

 private:
  friend class DerivedKeys;
  KeyDecision() = default;
  SessionId session_;
  TenantId tenant_;
  ChallengeId challenge_;
  std::string purpose_;
  std::vector<Version> versions_;
  Digest32 policy_digest_{};
};

// Leaf kinds; subject: "TENANT/CHALLENGE/PURPOSE/VERSION".
inline constexpr std::string_view kKeyCreated = "derived_key.created";  // version 1
inline constexpr std::string_view kKeyRaised = "derived_key.raised";    // every further one
inline constexpr std::string_view kKeyRevoked = "derived_key.revoked";
inline constexpr std::string_view kKeyReleased = "derived_key.released";
/// Subject: "TENANT/CHALLENGE/PURPOSE", or the session, where its version does not name the key.
inline constexpr std::string_view kKeyRefused = "derived_key.refused";

/// Keys that follow from the Kms's root key and from whom they are for (docs/derived-keys.md): whoever gets one of
/// them, and the audit leaf of every act and refusal. A version that the audit log says was revoked, and the database
/// not, is `storage_corrupt`, as is a number that the log has and the database has not: a row was set back.
/// Thread-safe; what it is made from outlives it.
class DerivedKeys {
 public:
  DerivedKeys(storage::Database& database, storage::Sealer& sealer, const kms::Kms& kms, audit::Log& log,
              Random& random)
      : database_{database}, keys_{sealer}, kms_{kms}, log_{log}, random_{random} {}

  struct Put {
    model::DerivedKeyVersion version;
    bool made = false;  // else it was there already, with the same conditions
  };
  /// Makes version 1 of a key, or the one after the newest. `conflict`: the number is taken by other conditions, which
  /// never change, is revoked, or leaves some out; the floor is lower than the newest version's; too many versions are
  /// not revoked.
  [[nodiscard]] Result<Put> put(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose,
                                std::uint64_t version, const model::ReleaseConditions& conditions, std::string_view who,
                                UnixTime now);
  /// By challenge and purpose.
  [[nodiscard]] Result<std::vector<model::DerivedKey>> list(const TenantId& tenant) const;
  /// `not_found`.
  [[nodiscard]] Result<model::DerivedKey> get(const TenantId& tenant, const ChallengeId& challenge,
                                              std::string_view purpose) const;
  /// From now on the version is released to nobody; nothing for one that was revoked before. `not_found`.
  [[nodiscard]] Result<void> revoke(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose,
                                    std::uint64_t version, std::string_view who, UnixTime now);

  /// Which versions this session may have: those that are not revoked and whose conditions it meets, one at least. Else
  /// `session_expired`, `permission_denied` for a session that is no instance's, a key that its version does not name,
  /// that there is none of or only revoked ones of, and `measurement_not_accepted` or `tcb_too_low`, after the oldest
  /// version that is not revoked, with what keeps each back. A refusal is recorded before it returns; where it cannot
  /// be, that is the error.
  [[nodiscard]] Result<KeyDecision> decide(const session::AttestedSession& session, std::string_view purpose,
                                           UnixTime now);
  /// The keys, sealed to the session's payload key, all or none. The audit leaves are committed before anything is
  /// returned. `permission_denied` when the decision is another session's, or a version was revoked meanwhile.
  [[nodiscard]] Result<std::vector<protocol::SealedKey>> release(const session::AttestedSession& session,
                                                                 KeyDecision decision, UnixTime now);

 private:
  [[nodiscard]] Result<KeyDecision> judge(const session::AttestedSession& session, std::string_view purpose,
                                          UnixTime now, std::string& subject) const;
  [[nodiscard]] Error refuse(const session::AttestedSession& session, std::string_view purpose,
                             const std::string& subject, Error why, UnixTime now);
  [[nodiscard]] Result<void> check_history(const storage::Reading& reading, const TenantId& tenant,
                                           const ChallengeId& challenge, std::string_view purpose,
                                           const std::vector<model::DerivedKeyVersion>& versions) const;
  storage::Database& database_;
  mutable storage::DerivedKeys keys_;  // opens values, which only caches keys
  const kms::Kms& kms_;
  audit::Log& log_;
  Random& random_;
};

}  // namespace cloister::keybroker
