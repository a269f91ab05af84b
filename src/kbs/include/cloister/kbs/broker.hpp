#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/attestation/anchors.hpp"
#include "cloister/audit/log.hpp"
#include "cloister/audit/refusals.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/kbs/resource_policy.hpp"
#include "cloister/keyring/keyring.hpp"
#include "cloister/rcar/attestation.hpp"
#include "cloister/rcar/resource.hpp"
#include "cloister/storage/broker_sessions.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/resources.hpp"
#include "cloister/verdict/verdict.hpp"

/// The broker's side of RCAR: request, challenge, attestation, response, and then resources.
namespace cloister::kbs {

/// Leaf kinds of this module.
inline constexpr std::string_view kAttested = "guest.attested";      // subject: the token's id
inline constexpr std::string_view kReleased = "resource.released";   // subject: the path, as the rest
inline constexpr std::string_view kRefused = "resource.refused";     // to a guest that has a token
inline constexpr std::string_view kStored = "resource.stored";
inline constexpr std::string_view kRemoved = "resource.removed";
inline constexpr std::string_view kPolicyChanged = "policy.changed";  // subject: "resource", "default_cpu", "default_gpu"
inline constexpr std::string_view kReferenceChanged = "reference_value.changed";  // subject: its name

/// A guest whose token was verified. Made by `Broker::authenticate` only; a value, cheap to copy.
class AttestedGuest {
 public:
  [[nodiscard]] const std::string& token_id() const noexcept { return what_->token_id; }
  [[nodiscard]] const crypto::jose::EncryptionKey& key() const noexcept { return what_->key; }
  [[nodiscard]] const codec::json::Value& claims() const noexcept { return what_->claims; }
  [[nodiscard]] UnixTime issued() const noexcept { return what_->issued; }
  [[nodiscard]] UnixTime expires() const noexcept { return what_->expires; }

 private:
  friend class Broker;
  struct What {
    std::string token_id;
    crypto::jose::EncryptionKey key;
    codec::json::Value claims;
    UnixTime issued;
    UnixTime expires;
  };
  explicit AttestedGuest(What what) : what_{std::make_shared<const What>(std::move(what))} {}
  std::shared_ptr<const What> what_;  // shared with those that are known, and immutable
};

/// That this guest may have this resource, now. Made by `Broker::decide` only, used up by `release`.
class ReleaseDecision {
 public:
  ReleaseDecision(ReleaseDecision&&) noexcept = default;
  ReleaseDecision& operator=(ReleaseDecision&&) noexcept = default;
  [[nodiscard]] const std::string& token_id() const noexcept { return token_id_; }
  [[nodiscard]] const rcar::ResourcePath& path() const noexcept { return path_; }

 private:
  friend class Broker;
  ReleaseDecision(std::string token_id, rcar::ResourcePath path, const Digest32& policy_digest)
      : token_id_{std::move(token_id)}, path_{std::move(path)}, policy_digest_{policy_digest} {}
  std::string token_id_;
  rcar::ResourcePath path_;
  Digest32 policy_digest_;
};

/// Thread-safe; what it is made from outlives it.
class Broker {
 public:
  struct Services {
    storage::Database& database;
    storage::Sealer& sealer;
    audit::Log& log;
    audit::Refusals& refusals;
    const keyring::Keyring& keys;  // that sign tokens
    const attestation::TrustAnchors& anchors;
    verdict::Sources sources;  // of what evidence needs beside it
    Random& random;
    attestation::VerificationCache* cache = nullptr;
  };
  struct Options {
    TenantId tenant;        // whose resources these are
    std::string server_id;  // issuer and audience of tokens
    std::string build;      // program and version
    /// Evidence that proves nothing, for trying things out; what comes of it is tainted.
    bool allow_sample = false;
    /// Until administrators set others, which are kept in the database.
    appraisal::Policy attestation_policy = appraisal::Policy::builtin();
    appraisal::Policy device_policy = appraisal::Policy::builtin();
    codec::json::Value reference_values{};  // an object, or null for none
    ResourcePolicy resource_policy = ResourcePolicy::builtin();
    std::chrono::seconds session_lifetime{300};
  };
  /// With the policies and reference values that were set before; `policy_invalid` when one of them does not compile any
  /// more; of the storage.
  [[nodiscard]] static Result<std::unique_ptr<Broker>> open(Services services, Options options);

  [[nodiscard]] const TenantId& tenant() const noexcept { return options_.tenant; }

  struct Opened {
    std::string session;  // 32 hex digits: the cookie
    std::string challenge;
    std::chrono::seconds lifetime;
  };
  /// Begins a handshake: a session that is on disk when this returns. Errors: those of `rcar::parse_request`;
  /// `evidence_unsupported` for a TEE that is not verified here, with those that are; of the storage.
  [[nodiscard]] Result<Opened> begin(std::string_view request, UnixTime now);

  /// The token of evidence that is authentic and bound to the session's nonce and the guest's key, whatever the
  /// attestation policy says of it: the token says that. A message that can be read uses the session up, whether it
  /// succeeds or not; of two at once one wins. `unauthenticated` without a session; `nonce_invalid` for one that was used,
  /// and for another nonce; `report_data_mismatch`; the errors of `rcar::parse_attestation` and of verifiers.
  [[nodiscard]] Result<std::string> attest(std::string_view session, std::string_view message, UnixTime now);

  /// What a guest brings. A session that was attested is tried first, then the token.
  struct Credentials {
    std::optional<std::string> session;
    std::optional<std::string> token;
  };
  /// `unauthenticated` when there is nothing that could be verified; errors of tokens: only this server's own, for itself,
  /// are taken (background check and passport alike), and none of sample evidence unless that is allowed.
  [[nodiscard]] Result<AttestedGuest> authenticate(const Credentials& credentials, UnixTime now) const;
  /// `permission_denied` when the resource policy does not allow it, be there such a resource or not; errors of the policy.
  /// A refusal is in the audit log when this returns.
  [[nodiscard]] Result<ReleaseDecision> decide(const AttestedGuest& guest, const rcar::ResourcePath& path, UnixTime now);
  /// The resource, sealed to the guest's key (RFC 7516, flattened). `not_found`; of the storage. The audit leaf is
  /// committed before anything is returned.
  [[nodiscard]] Result<std::string> release(const AttestedGuest& guest, ReleaseDecision decision, UnixTime now);

  /// A new version; returns its number. `who` is the operator's name, for the audit log.
  [[nodiscard]] Result<std::uint64_t> put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now);
  /// `not_found`.
  [[nodiscard]] Result<void> remove(const rcar::ResourcePath& path, std::string_view who, UnixTime now);
  [[nodiscard]] Result<std::vector<storage::Resources::Info>> list() const;

  /// The resource policy from now on, also after a restart. `policy_invalid` with line and column: nothing changes then.
  [[nodiscard]] Result<void> set_resource_policy(std::string text, std::string_view who, UnixTime now);
  /// The same of "default_cpu", for TEEs, or "default_gpu", for devices; `not_found` for any other.
  [[nodiscard]] Result<void> set_attestation_policy(std::string_view id, std::string text, std::string_view who, UnixTime now);
  /// Sets the members of an object, and leaves other reference values as they are. `limit_exceeded` beyond 512 KiB in all.
  [[nodiscard]] Result<void> set_reference_values(const codec::json::Value& values, std::string_view who, UnixTime now);
  /// `not_found`.
  [[nodiscard]] Result<codec::json::Value> reference_value(std::string_view name) const;

 private:
  /// What guests are judged by; immutable, so that one appraisal sees one state of it.
  struct Rules {
    appraisal::Policy cpu;
    appraisal::Policy device;
    codec::json::Value reference_values;
    ResourcePolicy resource;
  };
  using RulesPtr = std::shared_ptr<const Rules>;  // shared: a change takes it from nobody
  Broker(Services services, Options options)
      : services_{std::move(services)}, options_{std::move(options)}, resources_{services_.sealer} {}
  [[nodiscard]] RulesPtr rules() const;
  [[nodiscard]] Result<void> load();
  /// Stores the setting with its leaf, and lets what `change` makes of the rules hold.
  template <class Change>
  [[nodiscard]] Result<void> change_rules(std::string_view setting, ByteView value, const std::vector<merkle::AuditLeaf>& leaves,
                                          Change change);
  struct Appraised;
  [[nodiscard]] Result<void> verified_here(rcar::Tee tee) const;
  [[nodiscard]] Result<storage::broker_sessions::Record> pending(const storage::broker_sessions::Id& id, UnixTime now) const;
  [[nodiscard]] Result<Appraised> appraise(const storage::broker_sessions::Record& session, const rcar::Attestation& message,
                                           UnixTime now) const;
  [[nodiscard]] Result<std::string> conclude(const storage::broker_sessions::Id& id, const rcar::Attestation& message,
                                             const Result<Appraised>& appraised, UnixTime now);
  [[nodiscard]] Result<std::string> token_of(const Credentials& credentials, UnixTime now) const;
  [[nodiscard]] Result<AttestedGuest> verify(std::string_view token, UnixTime now) const;
  [[nodiscard]] std::optional<AttestedGuest> known(const Digest32& token, UnixTime now) const;
  void remember(const Digest32& token, const AttestedGuest& guest, UnixTime now) const;
  [[nodiscard]] Result<void> record_refusal(const AttestedGuest& guest, const rcar::ResourcePath& path, Errc code,
                                            const Digest32& policy, UnixTime now);
  Services services_;
  Options options_;
  mutable storage::Resources resources_;  // opens values, which only caches keys
  std::mutex changing_;                   // one change at a time
  mutable std::mutex mutex_;              // guards the two below
  RulesPtr rules_;
  mutable std::map<Digest32, AttestedGuest> known_;  // by the digest of a token that was verified: spares its signature
};

}  // namespace cloister::kbs
