#include "cloister/keybroker/broker.hpp"

#include <algorithm>
#include <iterator>

#include "cloister/crypto/hpke.hpp"
#include "cloister/storage/challenges.hpp"

namespace cloister::keybroker {
namespace {

Error denied() { return Error{Errc::permission_denied, "this session may not have that secret"}; }

merkle::AuditLeaf leaf_of(std::string_view kind, std::string_view path, UnixTime now) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kind;
  leaf.subject = path;
  return leaf;
}

}  // namespace

Result<std::uint64_t> Broker::put(const TenantId& tenant, std::string_view path, ByteView value, std::string_view who,
                                  UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(version, secrets_.put(transaction, tenant, path, value, now));
  auto leaf = leaf_of(kSecretStored, path, now);
  leaf.details = {{"tenant", tenant.str()}, {"version", version}, {"by", std::string{who}}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return version;
}

Result<std::vector<storage::Secrets::Info>> Broker::list(const TenantId& tenant) const {
  CLOISTER_TRY(snapshot, database_.read());
  return secrets_.list(snapshot, tenant);
}

Result<void> Broker::remove(const TenantId& tenant, std::string_view path, std::string_view who, UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(secrets_.remove(transaction, tenant, path));
  auto leaf = leaf_of(kSecretRemoved, path, now);
  leaf.details = {{"tenant", tenant.str()}, {"by", std::string{who}}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  return transaction.commit();
}

Result<ReleaseDecision> Broker::decide(const session::AttestedSession& session, const model::SecretRef& secret,
                                       UnixTime now) {
  auto decision = judge(session, secret, now);
  // What is the storage's own fault is no refusal, and could not be recorded either.
  if (!decision && http_status(decision.error().code()) < 500) {
    CLOISTER_CHECK(record_refusal(session, secret, decision.error().code(), now));
  }
  return decision;
}

Result<void> Broker::record_refusal(const session::AttestedSession& session, const model::SecretRef& secret, Errc code,
                                    UnixTime now) {
  auto leaf = leaf_of(kSecretRefused, secret.path, now);
  leaf.details = {{"session", session.id().str()},
                  {"role", std::string{to_string(session.role())}},
                  {"code", std::string{to_string(code)}},
                  {"policy", to_bytes(ByteView{session.policy_digest()})}};
  if (!session.instance().empty()) leaf.details.emplace_back("instance", session.instance().str());
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_CHECK(log_.append(transaction, leaf));
  return transaction.commit();
}

Result<ReleaseDecision> Broker::judge(const session::AttestedSession& session, const model::SecretRef& secret,
                                      UnixTime now) const {
  if (session.role() != protocol::Role::instance) return denied();
  if (now >= session.expires()) return Error{Errc::session_expired, "the session has expired"};
  CLOISTER_TRY(snapshot, database_.read());
  auto version = storage::challenges::version(snapshot, session.version());
  if (!version) return denied();
  const auto& named = version->version.spec.secrets;
  if (std::ranges::find(named, secret) == named.end()) return denied();
  auto value = secrets_.get(snapshot, version->tenant, secret.path);
  if (!value) return value.error().code() == Errc::not_found ? denied() : std::move(value).error();
  ReleaseDecision decision;
  decision.session_ = session.id();
  decision.tenant_ = version->tenant;
  decision.secret_ = secret;
  decision.version_ = value->info.version;
  decision.policy_digest_ = session.policy_digest();
  return decision;
}

Result<protocol::SealedSecret> Broker::release(const session::AttestedSession& session, ReleaseDecision decision,
                                               UnixTime now) {
  if (decision.session_ != session.id() || decision.policy_digest_ != session.policy_digest()) return denied();
  const auto& path = decision.secret_.path;
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(value, secrets_.get(transaction, decision.tenant_, path, decision.version_));
  const auto info = protocol::release_info(session.id(), path, decision.version_);
  CLOISTER_TRY(sealed, crypto::hpke_seal(session.payload_key(), info, {}, value.value.reveal(), random_));
  auto leaf = leaf_of(kSecretReleased, path, now);
  leaf.details = {{"tenant", decision.tenant_.str()},
                  {"session", session.id().str()},
                  {"instance", session.instance().str()},
                  {"version", decision.version_},
                  {"policy", to_bytes(ByteView{decision.policy_digest_})}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return protocol::SealedSecret{decision.secret_.name, path, decision.version_, sealed.enc,
                                std::move(sealed.ciphertext)};
}

Result<protocol::Release> Broker::release_all(const session::AttestedSession& session, UnixTime now) {
  std::vector<model::SecretRef> wanted;
  std::vector<std::string> purposes;
  {
    CLOISTER_TRY(snapshot, database_.read());
    CLOISTER_TRY(version, storage::challenges::version(snapshot, session.version()));
    wanted = version.version.spec.secrets;
    purposes = version.version.spec.derived_keys;
  }
  std::vector<ReleaseDecision> decisions;
  for (const auto& secret : wanted) {
    auto decision = decide(session, secret, now);
    if (!decision) return decision.error().in(secret.path);
    decisions.push_back(*std::move(decision));
  }
  std::vector<KeyDecision> key_decisions;
  for (const auto& purpose : purposes) {
    CLOISTER_TRY(decision, derived_keys_.decide(session, purpose, now));
    key_decisions.push_back(std::move(decision));
  }
  protocol::Release out;
  for (auto& decision : key_decisions) {  // first, since an HSM may be gone: no secret is then said to be released
    CLOISTER_TRY(sealed, derived_keys_.release(session, std::move(decision), now));
    std::ranges::move(sealed, std::back_inserter(out.keys));
  }
  for (auto& decision : decisions) {
    CLOISTER_TRY(sealed, release(session, std::move(decision), now));
    out.secrets.push_back(std::move(sealed));
  }
  return out;
}

}  // namespace cloister::keybroker
