#include "cloister/kbs/gate.hpp"

#include "leaves.hpp"

namespace cloister::kbs {

Result<std::string> Gate::token_of(const Credentials& credentials, UnixTime now) const {
  if (credentials.session) {
    auto token = handshakes_.token_of(*credentials.session, now);
    if (token || token.error().code() != Errc::unauthenticated) return token;
  }
  if (credentials.token) return *credentials.token;
  return Error{Errc::unauthenticated, "an attested session or a token expected"};
}

Result<AttestedGuest> Gate::authenticate(const Credentials& credentials, UnixTime now) const {
  CLOISTER_TRY(text, token_of(credentials, now));
  auto guest = tokens_.verify_again(text, now);
  if (!guest) services_.refusals.note(guest.error().code(), now);
  return guest;
}

Result<void> Gate::record_refusal(const AttestedGuest& guest, const rcar::ResourcePath& path, Errc code, const PolicyRef& policy,
                                    UnixTime now) {
  auto leaf = leaf_of(kRefused, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()},
                  {"token", guest.token_id()},
                  {"key", key_digest(guest.key())},
                  {"code", std::string{to_string(code)}},
                  {"policy", digest_bytes(policy.digest)},
                  {"policy_name", policy.name}};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  return transaction.commit();
}

Result<ReleaseDecision> Gate::decide(const AttestedGuest& guest, const rcar::ResourcePath& path, UnixTime now) {
  const auto current = rules_.current();
  const auto& rule = current->deciding(path);
  const auto allowed = rule.policy.allows(guest.claims(), path);
  if (allowed && *allowed) return ReleaseDecision{guest.token_id(), path, rule.ref};
  const auto why = allowed ? Error{Errc::permission_denied, "Access denied by policy"} : allowed.error();
  CLOISTER_CHECK(record_refusal(guest, path, why.code(), rule.ref, now));
  return why;
}

Result<std::string> Gate::release(const AttestedGuest& guest, ReleaseDecision decision, UnixTime now) {
  if (decision.token_id_ != guest.token_id() || now >= guest.expires()) {
    return Error{Errc::permission_denied, "Access denied by policy"};
  }
  const auto found = vault_.get(decision.path_);
  if (!found) {
    if (found.error().code() != Errc::not_found) return found.error();
    CLOISTER_CHECK(record_refusal(guest, decision.path_, Errc::not_found, decision.policy_, now));
    return Error{Errc::not_found, "no such resource"};
  }
  CLOISTER_TRY(sealed, crypto::jose::encrypt(guest.key(), found->value.reveal(), services_.random));
  auto leaf = leaf_of(kReleased, subject_of(decision.path_), now);
  leaf.details = {{"tenant", options_.tenant.str()},
                  {"token", guest.token_id()},
                  {"key", key_digest(guest.key())},
                  {"version", found->info.version},
                  {"policy", digest_bytes(decision.policy_.digest)},
                  {"policy_name", decision.policy_.name}};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  CLOISTER_CHECK(transaction.commit());
  return crypto::jose::write(sealed);
}

}  // namespace cloister::kbs
