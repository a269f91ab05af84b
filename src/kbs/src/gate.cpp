#include "cloister/kbs/gate.hpp"

#include <chrono>

#include "leaves.hpp"

namespace cloister::kbs {

Result<AttestedGuest> Gate::guest_of(const Credentials& credentials, UnixTime now) const {
  if (credentials.session) {
    const auto token = handshakes_.token_of(*credentials.session, now);
    if (!token && token.error().code() != Errc::unauthenticated) return token.error();
    if (token) {
      auto guest = tokens_.verify_again(*token, now);
      if (guest || !credentials.token) return guest;
    }
  }
  if (credentials.token) return tokens_.verify_again(*credentials.token, now);
  return Error{Errc::unauthenticated, "an attested session or a token expected"};
}

Result<AttestedGuest> Gate::authenticate(const Credentials& credentials, UnixTime now) const {
  auto guest = guest_of(credentials, now);
  if (!guest && guest.error().code() != Errc::unauthenticated && http_status(guest.error().code()) < 500) {
    services_.refusals.note(guest.error().code(), now);
  }
  return guest;
}

Result<void> Gate::record_refusal(const AttestedGuest& guest, const rcar::ResourcePath& path, Errc code, const Digest32& policy,
                                    UnixTime now) {
  auto leaf = leaf_of(kRefused, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()},
                  {"token", guest.token_id()},
                  {"key", key_digest(guest.key())},
                  {"code", std::string{to_string(code)}},
                  {"policy", digest_bytes(policy)}};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  return transaction.commit();
}

Result<bool> Gate::allows(const AttestedGuest& guest, const ResourcePolicy& policy, const rcar::ResourcePath& path, UnixTime now) const {
  CLOISTER_CHECK(revocations_.check(guest, now));
  const auto begin = std::chrono::steady_clock::now();
  auto allowed = policy.allows(guest.claims(), path);
  services_.meters.policies.with({"resource"}).observe(std::chrono::steady_clock::now() - begin);
  return allowed;
}

Result<ReleaseDecision> Gate::decide(const AttestedGuest& guest, const rcar::ResourcePath& path, UnixTime now) {
  const auto current = rules_.current();
  const auto& policy = current->resource;
  const auto allowed = allows(guest, policy, path, now);
  if (allowed && *allowed) return ReleaseDecision{guest.token_id(), path, policy.digest()};
  const auto why = allowed ? Error{Errc::permission_denied, "Access denied by policy"} : allowed.error();
  CLOISTER_CHECK(record_refusal(guest, path, why.code(), policy.digest(), now));
  return why;
}

Result<std::string> Gate::release(const AttestedGuest& guest, ReleaseDecision decision, UnixTime now) {
  if (decision.token_id_ != guest.token_id() || now >= guest.expires()) {
    return Error{Errc::permission_denied, "Access denied by policy"};
  }
  const auto found = vault_.get(decision.path_);
  if (!found) {
    if (found.error().code() != Errc::not_found) return found.error();
    CLOISTER_CHECK(record_refusal(guest, decision.path_, Errc::not_found, decision.policy_digest_, now));
    return Error{Errc::not_found, "no such resource"};
  }
  CLOISTER_TRY(sealed, crypto::jose::encrypt(guest.key(), found->value.reveal(), services_.random));
  auto leaf = leaf_of(kReleased, subject_of(decision.path_), now);
  leaf.details = {{"tenant", options_.tenant.str()},
                  {"token", guest.token_id()},
                  {"key", key_digest(guest.key())},
                  {"version", found->info.version},
                  {"policy", digest_bytes(decision.policy_digest_)}};
  auto held = record_release(guest, leaf, now);
  if (held) return crypto::jose::write(sealed);
  if (held.error().code() == Errc::attestation_revoked) {
    CLOISTER_CHECK(record_refusal(guest, decision.path_, held.error().code(), decision.policy_digest_, now));
  }
  return held.error();
}

/// Nothing is revoked between the question whether it is and the leaf.
Result<void> Gate::record_release(const AttestedGuest& guest, const merkle::AuditLeaf& leaf, UnixTime now) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(revocations_.check(guest, now));
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  return transaction.commit();
}

}  // namespace cloister::kbs
