#include "cloister/kbs/broker.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/jcs.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/storage/access.hpp"
#include "cloister/token/trustee.hpp"
#include "cloister/token/verify.hpp"
#include "evidence.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;
namespace sessions = storage::broker_sessions;
using rcar::Tee;

constexpr std::size_t kMaxSubject = 256;  // of an audit leaf
constexpr std::size_t kMaxReferenceValues = 512U << 10;
constexpr std::size_t kMaxChanges = 256;  // of reference values at once
constexpr std::size_t kMaxKnown = 1024;   // tokens that need not be verified again; some 10 KiB each
constexpr std::string_view kResourcePolicySetting = "kbs-resource-policy";
constexpr std::string_view kCpuPolicySetting = "kbs-attestation-policy-cpu";
constexpr std::string_view kDevicePolicySetting = "kbs-attestation-policy-gpu";
constexpr std::string_view kReferenceSetting = "kbs-reference-values";
constexpr std::string_view kCpuPolicy = "default_cpu";
constexpr std::string_view kDevicePolicy = "default_gpu";

merkle::AuditLeaf leaf_of(std::string_view kind, std::string_view subject, UnixTime now) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kind;
  leaf.subject = subject;
  return leaf;
}

/// What is longer than a leaf's subject may be stands there by its digest.
std::string subject_of(std::string text) {
  return text.size() <= kMaxSubject ? text : "sha256:" + codec::to_hex(crypto::sha256(as_bytes(text)));
}
std::string subject_of(const rcar::ResourcePath& path) { return subject_of(path.str()); }

/// A setting, or nothing where it was never set.
Result<std::optional<std::string>> setting(const storage::Reading& reading, std::string_view name) {
  auto value = storage::settings::get(reading, name);
  if (value) return std::optional{std::string{as_text(*value)}};
  if (value.error().code() == Errc::not_found) return std::optional<std::string>{};
  return value.error();
}

Bytes digest_bytes(const Digest32& digest) { return to_bytes(ByteView{digest}); }

/// Of the guest's key, by which releases to one guest are found again.
Bytes key_digest(const crypto::jose::EncryptionKey& key) {
  const auto text = json::canonical(key.to_json());
  CLOISTER_ASSERT(text.ok());  // texts of base64url
  const auto digest = crypto::sha256(as_bytes(*text));
  return to_bytes(ByteView{digest});
}

Result<sessions::Id> session_id(std::string_view text) {
  auto id = codec::array_from_hex<16>(text);
  if (!id) return Error{Errc::unauthenticated, "a session of this server expected: begin with a request"};
  return id;
}

/// A UUID of version 4 (RFC 9562 section 5.4), as clients know sessions.
sessions::Id new_session_id(Random& random) {
  auto id = random.array<16>();
  id[6] = static_cast<std::uint8_t>((id[6] & 0x0FU) | 0x40U);
  id[8] = static_cast<std::uint8_t>((id[8] & 0x3FU) | 0x80U);
  return id;
}

}  // namespace

struct Broker::Appraised {
  Digest32 policy_digest;
  token::Attester cpu;
  std::vector<token::Attester> devices;
  json::Value init_data;         // null for none
  json::Value init_data_claims;
};

Result<void> Broker::verified_here(Tee tee) const {
  constexpr std::array kVerified = {Tee::sgx, Tee::snp, Tee::tdx};
  if (std::ranges::find(kVerified, tee) != kVerified.end() || (tee == Tee::sample && options_.allow_sample)) return {};
  std::string detail{rcar::to_string(tee)};
  detail += " evidence is not verified here; sgx, snp and tdx are";
  if (options_.allow_sample) detail += ", and sample";
  return Error{Errc::evidence_unsupported, std::move(detail)};
}

Result<std::unique_ptr<Broker>> Broker::open(Services services, Options options) {
  std::unique_ptr<Broker> out{new Broker{std::move(services), std::move(options)}};
  CLOISTER_CHECK(out->load());
  return out;
}

Result<void> Broker::load() {
  Rules rules{options_.attestation_policy, options_.device_policy, options_.reference_values, options_.resource_policy};
  CLOISTER_TRY(snapshot, services_.database.read());
  CLOISTER_TRY(cpu, setting(snapshot, kCpuPolicySetting));
  CLOISTER_TRY(device, setting(snapshot, kDevicePolicySetting));
  CLOISTER_TRY(resource, setting(snapshot, kResourcePolicySetting));
  CLOISTER_TRY(values, setting(snapshot, kReferenceSetting));
  if (cpu) {
    CLOISTER_TRY(policy, appraisal::Policy::compile(std::string{kCpuPolicy}, *std::move(cpu)));
    rules.cpu = std::move(policy);
  }
  if (device) {
    CLOISTER_TRY(policy, appraisal::Policy::compile(std::string{kDevicePolicy}, *std::move(device)));
    rules.device = std::move(policy);
  }
  if (resource) {
    CLOISTER_TRY(policy, ResourcePolicy::compile("resource", *std::move(resource)));
    rules.resource = std::move(policy);
  }
  if (values) {
    auto read = json::parse(*values);
    if (!read || read->as_object() == nullptr) return Error{Errc::storage_corrupt, "reference values: an object expected"};
    rules.reference_values = *std::move(read);
  }
  rules_ = std::make_shared<const Rules>(std::move(rules));
  return {};
}

Broker::RulesPtr Broker::rules() const {
  const std::scoped_lock lock{mutex_};
  return rules_;
}

template <class Change>
Result<void> Broker::change_rules(std::string_view setting_name, ByteView value, const std::vector<merkle::AuditLeaf>& leaves,
                                  Change change) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(storage::settings::set(transaction, setting_name, value));
  for (const auto& leaf : leaves) {
    CLOISTER_TRY(index, services_.log.append(transaction, leaf));
    static_cast<void>(index);
  }
  auto fresh = *rules();
  change(fresh);
  auto shared = std::make_shared<const Rules>(std::move(fresh));
  CLOISTER_CHECK(transaction.commit());
  const std::scoped_lock lock{mutex_};
  rules_ = std::move(shared);
  return {};
}

Result<void> Broker::set_resource_policy(std::string text, std::string_view who, UnixTime now) {
  CLOISTER_TRY(policy, ResourcePolicy::compile("resource", text));
  auto leaf = leaf_of(kPolicyChanged, "resource", now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"policy", digest_bytes(policy.digest())}, {"by", std::string{who}}};
  const std::scoped_lock lock{changing_};
  return change_rules(kResourcePolicySetting, as_bytes(text), {leaf}, [&](Rules& rules) { rules.resource = policy; });
}

Result<void> Broker::set_attestation_policy(std::string_view id, std::string text, std::string_view who, UnixTime now) {
  const bool cpu = id == kCpuPolicy;
  if (!cpu && id != kDevicePolicy) return Error{Errc::not_found, "policies are called default_cpu and default_gpu"};
  CLOISTER_TRY(policy, appraisal::Policy::compile(std::string{id}, text));
  auto leaf = leaf_of(kPolicyChanged, id, now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"policy", digest_bytes(policy.digest())}, {"by", std::string{who}}};
  const std::scoped_lock lock{changing_};
  return change_rules(cpu ? kCpuPolicySetting : kDevicePolicySetting, as_bytes(text), {leaf},
                      [&](Rules& rules) { (cpu ? rules.cpu : rules.device) = policy; });
}

Result<void> Broker::set_reference_values(const json::Value& values, std::string_view who, UnixTime now) {
  const auto* members = values.as_object();
  if (members == nullptr) return Error{Errc::malformed, "reference values: an object expected"};
  if (members->size() > kMaxChanges) return Error{Errc::limit_exceeded, "reference values: at most 256 at once expected"};
  const std::scoped_lock lock{changing_};
  auto merged = rules()->reference_values;
  if (merged.is_null()) merged = json::Object{};
  std::vector<merkle::AuditLeaf> leaves;
  for (const auto& [name, value] : *members) {
    merged.set(name, value);
    auto leaf = leaf_of(kReferenceChanged, subject_of(name), now);
    leaf.details = {{"tenant", options_.tenant.str()},
                    {"value", digest_bytes(crypto::sha256(as_bytes(json::write(value))))},
                    {"by", std::string{who}}};
    leaves.push_back(std::move(leaf));
  }
  const auto text = json::write(merged);
  if (const auto again = json::parse(text); !again) return again.error().in("reference values");
  if (text.size() > kMaxReferenceValues) return Error{Errc::limit_exceeded, "reference values: at most 512 KiB in all expected"};
  return change_rules(kReferenceSetting, as_bytes(text), leaves, [&](Rules& rules) { rules.reference_values = merged; });
}

Result<json::Value> Broker::reference_value(std::string_view name) const {
  const auto now = rules();
  const auto* value = now->reference_values.find(name);
  if (value == nullptr) return Error{Errc::not_found, "no such reference value"};
  return *value;
}

Result<Broker::Opened> Broker::begin(std::string_view text, UnixTime now) {
  CLOISTER_TRY(request, rcar::parse_request(text));
  CLOISTER_CHECK(verified_here(request.tee));
  const auto id = new_session_id(services_.random);
  const rcar::Challenge challenge{services_.random.array<32>()};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(sessions::add(transaction, id, challenge.nonce, rcar::to_string(request.tee), now + options_.session_lifetime));
  CLOISTER_CHECK(transaction.commit());
  return Opened{codec::to_hex(id), rcar::write(challenge), options_.session_lifetime};
}

Result<sessions::Record> Broker::pending(const sessions::Id& id, UnixTime now) const {
  CLOISTER_TRY(snapshot, services_.database.read());
  auto session = sessions::get(snapshot, id, now);
  if (!session && session.error().code() == Errc::not_found) {
    return Error{Errc::unauthenticated, "no such session, or it has expired: begin with a request"};
  }
  if (session && session->attempted) {
    return Error{Errc::nonce_invalid, "this session's nonce was used: begin with a request"};
  }
  return session;
}

Result<std::string> Broker::attest(std::string_view session, std::string_view text, UnixTime now) {
  const auto refused = [&](const Error& error) {
    services_.refusals.note(error.code(), now);
    return error;
  };
  const auto id = session_id(session);
  if (!id) return refused(id.error());
  const auto message = rcar::parse_attestation(text);
  if (!message) return refused(message.error());
  const auto waiting = pending(*id, now);
  if (!waiting) return refused(waiting.error());
  auto token = conclude(*id, *message, appraise(*waiting, *message, now), now);
  if (!token) return refused(token.error());
  return token;
}

Result<Broker::Appraised> Broker::appraise(const sessions::Record& session, const rcar::Attestation& message, UnixTime now) const {
  if (message.nonce != rcar::Challenge{session.nonce}.nonce_text()) {
    return Error{Errc::nonce_invalid, "attestation.runtime-data.nonce: that of this session's challenge expected"};
  }
  std::optional<rcar::MeasuredInitData> init_data;
  if (message.init_data) {
    CLOISTER_TRY(read, rcar::read_init_data(*message.init_data));
    init_data = std::move(read);
  }
  const auto tee = rcar::tee_from_string(session.tee);
  if (!tee) return Error{Errc::storage_corrupt, "session: no TEE is called " + session.tee};
  CLOISTER_CHECK(verified_here(*tee));
  CLOISTER_TRY(devices, rcar::parse_additional_evidence(message.additional_evidence));
  CLOISTER_TRY(primary_data, rcar::primary_report_data(message.nonce, message.tee_key, message.additional_evidence));
  CLOISTER_TRY(device_data, rcar::device_report_data(message.nonce, message.tee_key));
  const auto current = rules();

  std::vector<token::Attester> others;
  for (const auto& one : devices) {
    if (one.device != Tee::sampledevice || !options_.allow_sample) {
      return Error{Errc::evidence_unsupported,
                   "additional_evidence: " + std::string{rcar::to_string(one.device)} + " evidence is not verified here"};
    }
    CLOISTER_TRY(device, appraise_sample(one.device, one.evidence, device_data, std::nullopt,
                                         {current->device, current->reference_values}));
    others.push_back(std::move(device.attester));
  }
  const auto whole = [&](Attested cpu) {
    return Appraised{current->cpu.digest(), std::move(cpu.attester), std::move(others), std::move(cpu.init_data),
                     init_data ? init_data->claims : json::Value{}};
  };
  if (*tee == Tee::sample) {
    CLOISTER_TRY(evidence, json::parse(message.primary_evidence));
    CLOISTER_TRY(cpu, appraise_sample(*tee, evidence, primary_data, init_data, {current->cpu, current->reference_values}));
    return whole(std::move(cpu));
  }
  const verdict::Terms terms{.anchors = services_.anchors,
                             .at = now,
                             .report_data = {},
                             .policy = {},
                             .rego = current->cpu,
                             .reference_values = current->reference_values,
                             .cache = services_.cache};
  CLOISTER_TRY(cpu, appraise_tee(session.tee, message.primary_evidence, rcar::padded(primary_data), init_data, terms,
                                 services_.sources));
  return whole(std::move(cpu));
}

/// The session's one attempt, its token and its leaf, or nothing of it.
Result<std::string> Broker::conclude(const sessions::Id& id, const rcar::Attestation& message, const Result<Appraised>& appraised,
                                     UnixTime now) {
  const auto token_id = random_id("tok", services_.random);
  const auto issue = [&]() -> Result<std::string> {
    if (!appraised) return appraised.error();
    const auto key = services_.keys.current();
    const token::Issuer issuer{options_.server_id, options_.build, key->key_id, key->key};
    const token::TokenTerms terms{now, services_.keys.lifetime(), options_.server_id, std::nullopt};
    const token::GuestData guest{message.nonce, message.tee_key.to_json(), message.additional_evidence, appraised->init_data,
                                 appraised->init_data_claims};
    CLOISTER_TRY(issued, token::issue_trustee(appraised->cpu, appraised->devices, guest, issuer, token_id, terms));
    // One that nobody can read, since there is too much in it, is none.
    if (const auto read = verify(issued, now); !read) return read.error().in("the token of this evidence");
    return issued;
  };
  auto token = issue();
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(sessions::conclude(transaction, id, token ? std::optional{*token} : std::nullopt, now));
  if (token) {
    auto leaf = leaf_of(kAttested, token_id, now);
    leaf.details = {{"tenant", options_.tenant.str()},
                    {"session", digest_bytes(crypto::sha256(ByteView{id}))},  // which is a credential itself
                    {"key", key_digest(message.tee_key)},
                    {"status", std::string{to_string(appraised->cpu.status())}},
                    {"policy", digest_bytes(appraised->policy_digest)},
                    {"lab", std::uint64_t{appraised->cpu.lab() ? 1U : 0U}},
                    {"sample", std::uint64_t{appraised->cpu.sample() ? 1U : 0U}}};
    CLOISTER_TRY(index, services_.log.append(transaction, leaf));
    static_cast<void>(index);
  }
  CLOISTER_CHECK(transaction.commit());
  return token;
}

Result<std::string> Broker::token_of(const Credentials& credentials, UnixTime now) const {
  if (credentials.session) {
    if (const auto id = session_id(*credentials.session)) {
      CLOISTER_TRY(snapshot, services_.database.read());
      auto session = sessions::get(snapshot, *id, now);
      if (!session && session.error().code() != Errc::not_found) return session.error();
      if (session && session->token) return *std::move(session->token);
    }
  }
  if (credentials.token) return *credentials.token;
  return Error{Errc::unauthenticated, "an attested session or a token expected"};
}

std::optional<AttestedGuest> Broker::known(const Digest32& token, UnixTime now) const {
  const std::scoped_lock lock{mutex_};
  const auto found = known_.find(token);
  if (found == known_.end() || now < found->second.issued() || now >= found->second.expires()) return std::nullopt;
  return found->second;
}

void Broker::remember(const Digest32& token, const AttestedGuest& guest, UnixTime now) const {
  const std::scoped_lock lock{mutex_};
  if (known_.size() >= kMaxKnown) std::erase_if(known_, [now](const auto& one) { return now >= one.second.expires(); });
  if (known_.size() >= kMaxKnown) known_.erase(known_.begin());  // by digest: any of them
  known_.insert_or_assign(token, guest);
}

Result<AttestedGuest> Broker::authenticate(const Credentials& credentials, UnixTime now) const {
  CLOISTER_TRY(text, token_of(credentials, now));
  const auto digest = crypto::sha256(as_bytes(text));
  if (auto guest = known(digest, now)) return *std::move(guest);
  auto guest = verify(text, now);
  if (!guest) {
    services_.refusals.note(guest.error().code(), now);
    return guest;
  }
  remember(digest, *guest, now);
  return guest;
}

Result<AttestedGuest> Broker::verify(std::string_view text, UnixTime now) const {
  token::Expected expected;
  expected.keys = services_.keys.published(now);
  expected.at = now;
  expected.issuer = options_.server_id;
  expected.audience = options_.server_id;
  expected.worst = token::Tier::contraindicated;  // what a status is good for, the resource policy says
  expected.allow_lab = options_.allow_sample || std::ranges::any_of(services_.anchors.all(), [](const auto& anchor) {
    return anchor.kind() == attestation::AnchorKind::lab;
  });
  CLOISTER_TRY(verified, token::verify(text, expected));
  if (verified.kind() != token::Kind::trustee) {
    return Error{Errc::token_kind_unknown, "token: one that was issued by a handshake expected"};
  }
  const auto& claims = verified.claims();
  if (claims.find(token::kSampleClaim) != nullptr && !options_.allow_sample) {
    return Error{Errc::token_of_lab, "token: of sample evidence, which is not accepted here"};
  }
  const auto* id = claims.find("jti");
  const auto* jwk = token::tee_pubkey_of(claims);
  if (id == nullptr || id->as_string() == nullptr || jwk == nullptr) {
    return Error{Errc::token_claim_invalid, "token: jti and the guest's key expected"};
  }
  auto key = crypto::jose::EncryptionKey::parse(*jwk);
  if (!key) return key.error().in("token");
  return AttestedGuest{{*id->as_string(), *std::move(key), claims, verified.issued(), verified.expires()}};
}

Result<void> Broker::record_refusal(const AttestedGuest& guest, const rcar::ResourcePath& path, Errc code, const Digest32& policy,
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

Result<ReleaseDecision> Broker::decide(const AttestedGuest& guest, const rcar::ResourcePath& path, UnixTime now) {
  const auto current = rules();
  const auto& policy = current->resource;
  const auto allowed = policy.allows(guest.claims(), path);
  if (allowed && *allowed) return ReleaseDecision{guest.token_id(), path, policy.digest()};
  const auto why = allowed ? Error{Errc::permission_denied, "Access denied by policy"} : allowed.error();
  CLOISTER_CHECK(record_refusal(guest, path, why.code(), policy.digest(), now));
  return why;
}

Result<std::string> Broker::release(const AttestedGuest& guest, ReleaseDecision decision, UnixTime now) {
  if (decision.token_id_ != guest.token_id() || now >= guest.expires()) {
    return Error{Errc::permission_denied, "Access denied by policy"};
  }
  std::optional<storage::Resources::Value> found;
  {
    CLOISTER_TRY(snapshot, services_.database.read());
    auto value = resources_.get(snapshot, options_.tenant, decision.path_.str());
    if (!value && value.error().code() != Errc::not_found) return value.error();
    if (value) found = *std::move(value);
  }
  if (!found) {
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
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  CLOISTER_CHECK(transaction.commit());
  return crypto::jose::write(sealed);
}

Result<std::uint64_t> Broker::put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(version, resources_.put(transaction, options_.tenant, path.str(), value, now));
  auto leaf = leaf_of(kStored, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"version", version}, {"by", std::string{who}}};
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  CLOISTER_CHECK(transaction.commit());
  return version;
}

Result<void> Broker::remove(const rcar::ResourcePath& path, std::string_view who, UnixTime now) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(resources_.remove(transaction, options_.tenant, path.str()));
  auto leaf = leaf_of(kRemoved, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"by", std::string{who}}};
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  return transaction.commit();
}

Result<std::vector<storage::Resources::Info>> Broker::list() const {
  CLOISTER_TRY(snapshot, services_.database.read());
  return resources_.list(snapshot, options_.tenant);
}

}  // namespace cloister::kbs
