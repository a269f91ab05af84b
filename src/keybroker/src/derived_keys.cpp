#include "cloister/keybroker/derived_keys.hpp"

#include <algorithm>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/crypto/hpke.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/storage/audit_rows.hpp"
#include "cloister/storage/challenges.hpp"
#include "conditions.hpp"

namespace cloister::keybroker {
namespace {

using model::DerivedKeyVersion;

constexpr std::size_t kMaxVersions = 4096;
constexpr std::size_t kMaxDetail = 512;

Error denied() { return Error{Errc::permission_denied, "this session may not have that key"}; }

std::string name_of(const ChallengeId& challenge, std::string_view purpose) {
  return challenge.str() + '/' + std::string{purpose};
}
/// What leaves say of a key. Ids hold no slash, so that no two keys have one subject.
std::string subject_of(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose) {
  return tenant.str() + '/' + name_of(challenge, purpose);
}
std::string subject_of(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose,
                       std::uint64_t version) {
  return subject_of(tenant, challenge, purpose) + '/' + std::to_string(version);
}

std::string_view making_of(std::uint64_t version) { return version == 1 ? kKeyCreated : kKeyRaised; }

merkle::AuditLeaf leaf_of(std::string_view kind, std::string subject, UnixTime now) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kind;
  leaf.subject = std::move(subject);
  return leaf;
}

Error set_back(const std::string& subject, std::string_view what) {
  return Error{Errc::storage_corrupt, "derived key " + subject + ": the audit log says that it was " +
                                          std::string{what} +
                                          ", the database does not; restore the database from a backup"};
}

Result<void> check_purpose(std::string_view purpose) {
  if (model::valid_purpose(purpose)) return {};
  return Error{Errc::invalid_argument, "purpose: an id of at most 40 characters expected"};
}

/// That the version can be made beside those that there are.
Result<void> check_next(const std::string& name, const std::vector<DerivedKeyVersion>& there, std::uint64_t version,
                        const model::ReleaseConditions& conditions) {
  const auto next = there.empty() ? 1 : there.back().version + 1;
  const auto conflict = [&name](const std::string& what) { return Error{Errc::conflict, name + ": " + what}; };
  if (version != next) return conflict("the next version is " + std::to_string(next));
  if (there.empty()) return {};
  if (!model::at_least_as_high(conditions.tcb, there.back().conditions.tcb)) {
    return conflict("tcb: lower in some member than version " + std::to_string(there.back().version) +
                    ", whose floor can be kept or raised");
  }
  const auto live = std::ranges::count_if(there, [](const auto& one) { return !one.revoked; });
  if (static_cast<std::size_t>(live) >= model::kMaxLiveVersions) {
    return conflict(std::to_string(live) + " versions are not revoked, the most there may be: revoke one first");
  }
  if (there.size() >= kMaxVersions) return conflict("no more than 4096 versions of a key: take another purpose");
  return {};
}

}  // namespace

Bytes derivation_info(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose,
                      std::uint64_t version) {
  codec::cbor::Writer out;
  out.array(5).text("cloister/derived-key/1").text(tenant.str()).text(challenge.str()).text(purpose).uint(version);
  return std::move(out).take();
}

Digest32 digest(const model::ReleaseConditions& conditions) {
  return crypto::sha256(as_bytes(codec::json::write(model::to_json(conditions))));
}

Result<void> DerivedKeys::check_history(const storage::Reading& reading, const TenantId& tenant,
                                        const ChallengeId& challenge, std::string_view purpose,
                                        const std::vector<DerivedKeyVersion>& versions) const {
  for (const auto& version : versions) {
    if (version.revoked) continue;
    const auto subject = subject_of(tenant, challenge, purpose, version.version);
    CLOISTER_TRY(revoked, storage::audit_rows::find(reading, log_.id(), kKeyRevoked, subject));
    if (revoked) return set_back(subject, "revoked");
  }
  return {};
}

Result<DerivedKeys::Put> DerivedKeys::put(const TenantId& tenant, const ChallengeId& challenge,
                                          std::string_view purpose, std::uint64_t version,
                                          const model::ReleaseConditions& conditions, std::string_view who,
                                          UnixTime now) {
  CLOISTER_CHECK(check_purpose(purpose));
  if (version == 0) return Error{Errc::invalid_argument, "versions of derived keys count from 1"};
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(there, keys_.versions(transaction, tenant, challenge, purpose));
  CLOISTER_CHECK(check_history(transaction, tenant, challenge, purpose, there));
  if (const auto same = std::ranges::find(there, version, &DerivedKeyVersion::version); same != there.end()) {
    if (same->conditions == conditions && !same->revoked) {
      CLOISTER_CHECK(transaction.commit());  // it may be another's, that is not on disk yet
      return Put{std::move(*same), false};
    }
    return Error{Errc::conflict, name_of(challenge, purpose) + ": version " + std::to_string(version) +
                                     (same->revoked ? " is revoked" : " has other conditions, which never change") +
                                     "; the next version is " + std::to_string(there.back().version + 1)};
  }
  CLOISTER_CHECK(check_next(name_of(challenge, purpose), there, version, conditions));
  const auto subject = subject_of(tenant, challenge, purpose, version);
  CLOISTER_TRY(made_before, storage::audit_rows::find(transaction, log_.id(), making_of(version), subject));
  if (made_before) return set_back(subject, "made");

  Put out{{version, conditions, now, std::nullopt}, true};
  CLOISTER_CHECK(keys_.add(transaction, tenant, challenge, purpose, out.version));
  auto leaf = leaf_of(making_of(version), subject, now);
  leaf.details = {{"conditions", to_bytes(ByteView{digest(conditions)})}, {"by", std::string{who}}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return out;
}

Result<std::vector<model::DerivedKey>> DerivedKeys::list(const TenantId& tenant) const {
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(keys, keys_.list(snapshot, tenant));
  for (const auto& key : keys) {
    CLOISTER_CHECK(check_history(snapshot, tenant, key.challenge, key.purpose, key.versions));
  }
  return keys;
}

Result<model::DerivedKey> DerivedKeys::get(const TenantId& tenant, const ChallengeId& challenge,
                                           std::string_view purpose) const {
  CLOISTER_CHECK(check_purpose(purpose));
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(versions, keys_.versions(snapshot, tenant, challenge, purpose));
  CLOISTER_CHECK(check_history(snapshot, tenant, challenge, purpose, versions));
  if (versions.empty()) return Error{Errc::not_found, "no such derived key"};
  return model::DerivedKey{challenge, std::string{purpose}, std::move(versions)};
}

Result<void> DerivedKeys::revoke(const TenantId& tenant, const ChallengeId& challenge, std::string_view purpose,
                                 std::uint64_t version, std::string_view who, UnixTime now) {
  CLOISTER_CHECK(check_purpose(purpose));
  CLOISTER_TRY(transaction, database_.write());
  auto revoked = keys_.revoke(transaction, tenant, challenge, purpose, version, now);
  if (!revoked && revoked.error().code() == Errc::conflict) return {};  // before: it stays as it is
  if (!revoked && revoked.error().code() == Errc::not_found)
    return Error{Errc::not_found, "no such version of a derived key"};
  CLOISTER_CHECK(std::move(revoked));
  auto leaf = leaf_of(kKeyRevoked, subject_of(tenant, challenge, purpose, version), now);
  leaf.details = {{"by", std::string{who}}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  return transaction.commit();
}

Result<KeyDecision> DerivedKeys::judge(const session::AttestedSession& session, std::string_view purpose, UnixTime now,
                                       std::string& subject) const {
  if (session.role() != protocol::Role::instance) return denied();
  if (now >= session.expires()) return Error{Errc::session_expired, "the session has expired"};
  CLOISTER_TRY(snapshot, database_.read());
  auto found = storage::challenges::version(snapshot, session.version());
  if (!found) return found.error().code() == Errc::not_found ? denied() : std::move(found).error();
  const auto& spec = found->version.spec;
  // The id is measured, the row that it names is not.
  if (protocol::version_id_of(spec) != session.version()) {
    return Error{Errc::storage_corrupt, "version " + session.version().str() +
                                            ": its specification in the database was " +
                                            "changed; restore the database from a backup"};
  }
  if (std::ranges::find(spec.derived_keys, purpose) == spec.derived_keys.end()) return denied();
  subject = subject_of(found->tenant, spec.challenge, purpose);

  CLOISTER_TRY(versions, keys_.versions(snapshot, found->tenant, spec.challenge, purpose));
  CLOISTER_CHECK(check_history(snapshot, found->tenant, spec.challenge, purpose, versions));
  KeyDecision decision;
  std::optional<Errc> code;
  std::string why;
  for (const auto& version : versions) {
    if (version.revoked) continue;
    const auto met = meets(version.conditions, session);
    if (met) {
      decision.versions_.push_back({version.version, digest(version.conditions)});
      continue;
    }
    if (!code) code = met.error().code();
    why += "version " + std::to_string(version.version) + ": " + met.error().detail() + "; ";
  }
  if (decision.versions_.empty()) {
    const auto revoked =
        std::ranges::count_if(versions, [](const auto& version) { return version.revoked.has_value(); });
    why += versions.empty() ? "there is none: an administrator makes it (cloister derived-key create)"
                            : "revoked versions: " + std::to_string(revoked);
    return Error{code.value_or(Errc::permission_denied),
                 "derived key " + name_of(spec.challenge, purpose) + ": " + why};
  }
  decision.session_ = session.id();
  decision.tenant_ = found->tenant;
  decision.challenge_ = spec.challenge;
  decision.purpose_ = purpose;
  decision.policy_digest_ = session.policy_digest();
  return decision;
}

Error DerivedKeys::refuse(const session::AttestedSession& session, std::string_view purpose, const std::string& subject,
                          Error why, UnixTime now) {
  if (http_status(why.code()) >= 500) return why;  // a trouble of ours refuses nobody
  auto leaf = leaf_of(kKeyRefused, subject.empty() ? session.id().str() : subject, now);
  leaf.details = {{"session", session.id().str()},
                  {"instance", session.instance().str()},
                  {"challenge_version", session.version().str()},
                  {"purpose", std::string{purpose.substr(0, model::kMaxPurpose)}},
                  {"code", std::string{to_string(why.code())}},
                  {"detail", why.detail().substr(0, kMaxDetail)}};
  const auto record = [&]() -> Result<void> {
    CLOISTER_TRY(transaction, database_.write());
    CLOISTER_CHECK(log_.append(transaction, leaf));
    return transaction.commit();
  };
  auto recorded = record();
  return recorded ? std::move(why) : std::move(recorded).error();
}

Result<KeyDecision> DerivedKeys::decide(const session::AttestedSession& session, std::string_view purpose,
                                        UnixTime now) {
  std::string subject;
  auto decision = judge(session, purpose, now, subject);
  if (decision) return decision;
  return refuse(session, purpose, subject, std::move(decision).error(), now);
}

Result<std::vector<protocol::SealedKey>> DerivedKeys::release(const session::AttestedSession& session,
                                                              KeyDecision decision, UnixTime now) {
  const auto& purpose = decision.purpose_;
  const auto subject = subject_of(decision.tenant_, decision.challenge_, purpose);
  const auto refused = [&](Error why) { return refuse(session, purpose, subject, std::move(why), now); };
  if (decision.session_ != session.id() || decision.policy_digest_ != session.policy_digest()) return refused(denied());
  if (now >= session.expires()) return refused(Error{Errc::session_expired, "the session has expired"});

  // Before the one writer begins: an HSM takes its time.
  std::vector<protocol::SealedKey> out;
  for (const auto& [number, conditions] : decision.versions_) {
    CLOISTER_TRY(key, kms_.derive(derivation_info(decision.tenant_, decision.challenge_, purpose, number)));
    const auto info = protocol::key_release_info(session.id(), purpose, number);
    CLOISTER_TRY(sealed, crypto::hpke_seal(session.payload_key(), info, {}, key.reveal(), random_));
    out.push_back({purpose, number, sealed.enc, std::move(sealed.ciphertext)});
  }

  const auto commit = [&]() -> Result<void> {
    CLOISTER_TRY(transaction, database_.write());
    CLOISTER_TRY(there, keys_.versions(transaction, decision.tenant_, decision.challenge_, purpose));
    CLOISTER_CHECK(check_history(transaction, decision.tenant_, decision.challenge_, purpose, there));
    for (const auto& [number, conditions] : decision.versions_) {
      const auto still = std::ranges::find(there, number, &DerivedKeyVersion::version);
      if (still == there.end() || still->revoked || digest(still->conditions) != conditions) {
        return Error{Errc::permission_denied, "derived key " + name_of(decision.challenge_, purpose) + " version " +
                                                  std::to_string(number) + " was revoked meanwhile"};
      }
      auto leaf = leaf_of(kKeyReleased, subject_of(decision.tenant_, decision.challenge_, purpose, number), now);
      leaf.details = {{"session", session.id().str()},
                      {"instance", session.instance().str()},
                      {"challenge_version", session.version().str()},
                      {"conditions", to_bytes(ByteView{conditions})},
                      {"policy", to_bytes(ByteView{decision.policy_digest_})}};
      CLOISTER_CHECK(log_.append(transaction, leaf));
    }
    return transaction.commit();
  };
  auto committed = commit();
  if (!committed) return refused(std::move(committed).error());
  return out;
}

}  // namespace cloister::keybroker
