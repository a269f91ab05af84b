#include "cloister/kbs/gate.hpp"

#include <chrono>
#include <memory>

#include "leaves.hpp"

namespace cloister::kbs {
namespace {

codec::json::Object to_object(const std::map<std::string, std::string>& texts) {
  codec::json::Object out;
  for (const auto& [name, value] : texts) out.emplace_back(name, value);
  return out;
}

}  // namespace

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

merkle::AuditLeaf Gate::leaf_for(std::string_view kind, const AttestedGuest& guest, const Ask& ask, const PolicyRef& policy,
                                 UnixTime now) const {
  auto leaf = leaf_of(kind, subject_of(ask.path), now);
  leaf.details = {{"tenant", options_.tenant.str()},
                  {"token", guest.token_id()},
                  {"key", digest_bytes(guest.key_digest())},
                  {"policy", digest_bytes(policy.digest)},
                  {"policy_name", policy.name}};
  return leaf;
}

merkle::AuditLeaf Gate::refusal(const AttestedGuest& guest, const Ask& ask, Errc code, const PolicyRef& policy, UnixTime now) const {
  auto leaf = leaf_for(kRefused, guest, ask, policy, now);
  leaf.details.emplace_back("code", std::string{to_string(code)});
  if (ask.version) leaf.details.emplace_back("version", *ask.version);
  return leaf;
}

Result<void> Gate::record(const merkle::AuditLeaf& leaf) const {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  return transaction.commit();
}

Result<bool> Gate::allows(const AttestedGuest& guest, const ResourcePolicy& policy, const Ask& ask, UnixTime now) const {
  CLOISTER_CHECK(revocations_.check(guest, now));
  CLOISTER_TRY(labels, vault_.labels(ask.path));
  const auto begin = std::chrono::steady_clock::now();
  const auto input = guest.input(services_.inputs);
  auto allowed = input ? policy.allows(input, ask.path, to_object(ask.query), to_object(labels))
                       : policy.allows(guest.claims(), ask.path, to_object(ask.query), to_object(labels));
  services_.meters.policies.with({"resource"}).observe(std::chrono::steady_clock::now() - begin);
  return allowed;
}

Result<ReleaseDecision> Gate::decide(const AttestedGuest& guest, const Ask& ask, UnixTime now) {
  const auto current = rules_.current();
  const auto& rule = current->deciding(ask.path);
  const auto allowed = allows(guest, rule.policy, ask, now);
  if (allowed && *allowed) return ReleaseDecision{guest.token_id(), ask, rule.ref};
  const auto why = allowed ? Error{Errc::permission_denied, "Access denied by policy"} : allowed.error();
  CLOISTER_CHECK(record(refusal(guest, ask, why.code(), rule.ref, now)));
  return why;
}

Result<Unrecorded<std::string>> Gate::release(const AttestedGuest& guest, ReleaseDecision decision, UnixTime now) {
  if (decision.token_id_ != guest.token_id() || now >= guest.expires()) {
    return Error{Errc::permission_denied, "Access denied by policy"};
  }
  const auto& ask = decision.ask_;
  auto found = vault_.get(ask.path, ask.version);
  if (!found && found.error().code() == Errc::not_found && !ask.version) found = vault_.first_use(ask.path, guest.token_id(), now);
  if (!found) {
    if (found.error().code() != Errc::not_found) return found.error();
    CLOISTER_CHECK(record(refusal(guest, ask, Errc::not_found, decision.policy_, now)));
    return Error{Errc::not_found, "no such resource"};
  }
  CLOISTER_TRY(sealed, crypto::jose::encrypt(guest.key(), found->value.reveal(), services_.random));
  struct Release {
    AttestedGuest guest;
    std::string reply;
    merkle::AuditLeaf leaf;
    ReleaseDecision decision;
  };
  auto leaf = leaf_for(kReleased, guest, ask, decision.policy_, now);
  leaf.details.emplace_back("version", found->version);
  const auto release =
      std::make_shared<const Release>(Release{guest, crypto::jose::write(sealed), std::move(leaf), std::move(decision)});
  // Nothing is revoked between the question whether it is and the leaf.
  return Unrecorded<std::string>{[this, release, now](storage::Transaction& transaction) -> Result<Result<std::string>> {
    const auto held = revocations_.check(release->guest, now);
    if (!held && held.error().code() != Errc::attestation_revoked) return held.error();
    const auto& decided = release->decision;
    CLOISTER_CHECK(services_.log.append(
        transaction,
        held ? release->leaf : refusal(release->guest, decided.ask_, held.error().code(), decided.policy_, now)));
    return held ? Result<std::string>{release->reply} : held.error();
  }};
}

}  // namespace cloister::kbs
