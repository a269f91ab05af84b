#pragma once

#include <optional>
#include <string>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/ask.hpp"
#include "cloister/kbs/guest.hpp"
#include "cloister/kbs/handshakes.hpp"
#include "cloister/kbs/revocations.hpp"
#include "cloister/kbs/rule_book.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/kbs/unrecorded.hpp"
#include "cloister/kbs/vault.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/rcar/resource.hpp"

namespace cloister::kbs {

/// That this guest may have this resource, now. Made by `Gate::decide` only, used up by `release`.
class ReleaseDecision {
 public:
  ReleaseDecision(ReleaseDecision&&) noexcept = default;
  ReleaseDecision& operator=(ReleaseDecision&&) noexcept = default;
  [[nodiscard]] const std::string& token_id() const noexcept { return token_id_; }
  [[nodiscard]] const rcar::ResourcePath& path() const noexcept { return ask_.path; }

 private:
  friend class Gate;
  ReleaseDecision(std::string token_id, Ask ask, PolicyRef policy)
      : token_id_{std::move(token_id)}, ask_{std::move(ask)}, policy_{std::move(policy)} {}
  std::string token_id_;
  Ask ask_;
  PolicyRef policy_;  // that decided
};

/// Resources of one tenant for its guests: who it is, whether it may, and then the resource. Thread-safe.
class Gate {
 public:
  Gate(const Services& services, const Options& options, const RuleBook& rules, const Handshakes& handshakes,
       const GuestTokens& tokens, const Revocations& revocations, Vault& vault)
      : services_{services},
        options_{options},
        rules_{rules},
        handshakes_{handshakes},
        tokens_{tokens},
        revocations_{revocations},
        vault_{vault} {}

  /// What a guest brings. A session whose token verifies goes first, then the token.
  struct Credentials {
    std::optional<std::string> session;
    std::optional<std::string> token;
  };
  /// `unauthenticated` when there is nothing that could be verified; errors of tokens: only this server's own, for itself
  /// and this tenant, are taken (background check and passport alike), and none of sample evidence unless that is allowed.
  [[nodiscard]] Result<AttestedGuest> authenticate(const Credentials& credentials, UnixTime now) const;
  /// `permission_denied` when the resource policy does not allow it, be there such a resource or not; errors of the policy;
  /// `attestation_revoked`, of one whose token was verified before too. The policy is that of the longest scope which has the
  /// path. A refusal is in the audit log when this returns.
  [[nodiscard]] Result<ReleaseDecision> decide(const AttestedGuest& guest, const Ask& ask, UnixTime now);
  /// The resource, in the version that was asked for, sealed to the guest's key (RFC 7516, flattened); it is made now if its
  /// first use was awaited. `not_found`; of the storage; `attestation_revoked` where that came before the release, as the log
  /// orders them. The reply is there once its audit leaf is on disk.
  [[nodiscard]] Result<Unrecorded<std::string>> release(const AttestedGuest& guest, ReleaseDecision decision, UnixTime now);

 private:
  [[nodiscard]] Result<AttestedGuest> guest_of(const Credentials& credentials, UnixTime now) const;
  [[nodiscard]] merkle::AuditLeaf leaf_for(std::string_view kind, const AttestedGuest& guest, const Ask& ask, const PolicyRef& policy,
                                           UnixTime now) const;
  [[nodiscard]] merkle::AuditLeaf refusal(const AttestedGuest& guest, const Ask& ask, Errc code, const PolicyRef& policy,
                                          UnixTime now) const;
  [[nodiscard]] Result<void> record(const merkle::AuditLeaf& leaf) const;
  [[nodiscard]] Result<bool> allows(const AttestedGuest& guest, const ResourcePolicy& policy, const Ask& ask, UnixTime now) const;
  const Services& services_;
  const Options& options_;
  const RuleBook& rules_;
  const Handshakes& handshakes_;
  const GuestTokens& tokens_;
  const Revocations& revocations_;
  Vault& vault_;
};

}  // namespace cloister::kbs
