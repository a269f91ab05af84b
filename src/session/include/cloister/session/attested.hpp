#pragma once

#include <chrono>
#include <optional>

#include "cloister/audit/log.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/policy/td.hpp"
#include "cloister/storage/access.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::session {

/// The security versions of the platform that evidence came from.
struct PlatformTcb {
  ByteArray<16> tdx_components{};  // TEE_TCB_SVN of the TD report: those of the launch
  ByteArray<16> sgx_components{};  // of the PCK certificate
  std::uint16_t pce_svn = 0;       // of the PCK certificate
  std::optional<UnixTime> tcb_date;  // the oldest of the matched levels
};

/// A TD that proved what it is, on the connection that it speaks over. Made by `AttestedSessions` only; a value.
class AttestedSession {
 public:
  [[nodiscard]] const SessionId& id() const noexcept { return id_; }
  [[nodiscard]] protocol::Role role() const noexcept { return role_; }
  /// Of an instance; empty for a validator's TD.
  [[nodiscard]] const InstanceId& instance() const noexcept { return instance_; }
  [[nodiscard]] const VersionId& version() const noexcept { return version_; }
  [[nodiscard]] const Digest32& image_digest() const noexcept { return image_digest_; }
  /// What it measures as: exactly that.
  [[nodiscard]] const policy::ReferenceValue& reference() const noexcept { return reference_; }
  /// Of the platform, when its evidence was appraised.
  [[nodiscard]] const PlatformTcb& tcb() const noexcept { return tcb_; }
  [[nodiscard]] const crypto::X25519Public& payload_key() const noexcept { return payload_key_; }
  [[nodiscard]] const crypto::Ed25519Public& result_key() const noexcept { return result_key_; }
  [[nodiscard]] const Digest32& policy_digest() const noexcept { return policy_digest_; }
  [[nodiscard]] bool lab() const noexcept { return lab_; }
  /// When its evidence was appraised.
  [[nodiscard]] UnixTime opened() const noexcept { return opened_; }
  [[nodiscard]] UnixTime expires() const noexcept { return expires_; }

 private:
  friend class AttestedSessions;
  AttestedSession() = default;
  SessionId id_;
  protocol::Role role_ = protocol::Role::instance;
  InstanceId instance_;
  VersionId version_;
  Digest32 image_digest_{};
  policy::ReferenceValue reference_;
  PlatformTcb tcb_;
  crypto::X25519Public payload_key_{};
  crypto::Ed25519Public result_key_{};
  Digest32 policy_digest_{};
  bool lab_ = false;
  UnixTime opened_{};
  UnixTime expires_{};
};

/// The connection that evidence must be bound to.
struct Connection {
  protocol::Role role = protocol::Role::instance;
  ByteArray<32> server_key{};  // the static key that the TD shook hands with
  Digest32 handshake_hash{};
  ByteArray<32> nonce{};
  std::optional<InstanceId> instance;             // which instance was asked for here
  std::optional<ValidatorId> validator;           // over whose host the stream runs
  std::optional<crypto::Ed25519Public> hotkey;    // of that validator, for its own TD
};

/// Leaf kinds of this module.
inline constexpr std::string_view kAppraisalAccepted = "appraisal.accepted";  // subject: the session
inline constexpr std::string_view kAppraisalRefused = "appraisal.refused";    // subject: the instance or validator

/// Opens attested sessions. Thread-safe; what it is made from outlives it.
class AttestedSessions {
 public:
  AttestedSessions(storage::Database& database, storage::Sealer& sealer, audit::Log& log, Random& random,
                   std::chrono::milliseconds lifetime)
      : database_{database}, records_{sealer}, log_{log}, random_{random}, lifetime_{lifetime} {}

  static constexpr std::chrono::seconds kNonceLifetime{60};
  /// A nonce that serves once, for the attestation of a TD.
  [[nodiscard]] Result<ByteArray<32>> issue_nonce(UnixTime now);

  /// A session for a TD that was appraised, when its preimage is bound to this very connection; `nonce_invalid`,
  /// `binding_mismatch` with the member. `shown` is what the TD sent and the collateral that was used (its session and
  /// times are set here). The nonce is used up, what was shown is stored, instance or validator become verified, and
  /// the audit leaf is written in one transaction, or nothing of it.
  [[nodiscard]] Result<AttestedSession> open(const policy::AppraisedTd& td, const Connection& connection,
                                             model::InstanceEvidence shown, UnixTime now);
  /// Records that a TD was refused. The instance or validator is known, so nobody can fill the log with it.
  [[nodiscard]] Result<void> refuse(const Connection& connection, const Error& why, UnixTime now);

 private:
  storage::Database& database_;
  storage::Sessions records_;
  audit::Log& log_;
  Random& random_;
  std::chrono::milliseconds lifetime_;
};

}  // namespace cloister::session
