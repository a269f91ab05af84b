#include "cloister/kbs/handshakes.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "evidence.hpp"
#include "leaves.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;
namespace sessions = storage::broker_sessions;
using rcar::Tee;

constexpr std::string_view kNoTee = "none";  // of a handshake that did not get so far as to say

/// How administrators and tokens call a session, whose id is a credential.
Digest32 digest_of(const sessions::Id& id) { return crypto::sha256(ByteView{id}); }

/// What further policies say: "lax affirming, strict warning".
std::string statuses_of(const token::Attester& attester) {
  std::string out;
  for (const auto& [name, said] : *attester.further().as_object()) {
    out += (out.empty() ? "" : ", ") + name + ' ' + *said.find("status")->as_string();
  }
  return out;
}

}  // namespace

struct Handshakes::Appraised {
  PolicyRef policy;  // of the TEE
  token::Attester cpu;
  std::vector<token::Attester> devices;
  json::Value init_data;         // null for none
  json::Value init_data_claims;
};

Result<void> Handshakes::verified_here(Tee tee) const {
  constexpr std::array kVerified = {Tee::sgx, Tee::snp, Tee::tdx};
  if (std::ranges::find(kVerified, tee) != kVerified.end() || (tee == Tee::sample && options_.allow_sample)) return {};
  std::string detail{rcar::to_string(tee)};
  detail += " evidence is not verified here; sgx, snp and tdx are";
  if (options_.allow_sample) detail += ", and sample";
  return Error{Errc::evidence_unsupported, std::move(detail)};
}

Result<Handshakes::Opened> Handshakes::begin(std::string_view text, UnixTime now) {
  auto opened = open(text, now);
  if (!opened) {
    services_.refusals.note(opened.error().code(), now);
    services_.meters.handshakes.with({kNoTee, to_string(opened.error().code())}).add();
  }
  return opened;
}

Result<Handshakes::Opened> Handshakes::open(std::string_view text, UnixTime now) {
  CLOISTER_TRY(request, rcar::parse_request(text));
  CLOISTER_CHECK(verified_here(request.tee));
  auto made = cookies_.make(request.tee, services_.random, now);
  return Opened{std::move(made.cookie), rcar::write(made.session.challenge), options_.session_lifetime};
}

/// A session that may have its attempt. Whether it had it, `conclude` knows: whoever tries twice costs no more than whoever
/// begins twice.
Result<SessionCookies::Session> Handshakes::pending(std::string_view cookie, UnixTime now) const {
  CLOISTER_TRY(session, cookies_.read(cookie));
  if (session.expires <= now) return Error{Errc::unauthenticated, "the session has expired: begin with a request"};
  return session;
}

Result<Unrecorded<std::string>> Handshakes::attempt(std::string_view session, std::string_view text, UnixTime now,
                                                    std::string& tee) const {
  tee = kNoTee;
  CLOISTER_TRY(waiting, pending(session, now));
  tee = rcar::to_string(waiting.tee);
  CLOISTER_TRY(message, rcar::parse_attestation(text));
  return conclude(waiting, message, appraise(waiting, message, now), now);
}

void Handshakes::count(const Result<std::string>& token, const std::string& tee, UnixTime now) const {
  if (!token) services_.refusals.note(token.error().code(), now);
  services_.meters.handshakes.with({tee, token ? "ok" : to_string(token.error().code())}).add();
}

void Handshakes::attest(std::string_view session, std::string_view text, UnixTime now, std::function<void(Result<std::string>)> done) {
  std::string tee;
  auto attempted = attempt(session, text, now, tee);
  auto told = [this, tee, now, done = std::move(done)](Result<std::string> token) {
    count(token, tee, now);
    done(std::move(token));
  };
  if (!attempted) return told(attempted.error());
  std::move(*attempted).record(services_.writes, std::move(told));
}

Result<Handshakes::Appraised> Handshakes::appraise(const SessionCookies::Session& session, const rcar::Attestation& message, UnixTime now) const {
  if (message.nonce != session.challenge.nonce_text()) {
    return Error{Errc::nonce_invalid, "attestation.runtime-data.nonce: that of this session's challenge expected"};
  }
  std::optional<rcar::MeasuredInitData> init_data;
  if (message.init_data) {
    CLOISTER_TRY(read, rcar::read_init_data(*message.init_data));
    init_data = std::move(read);
  }
  CLOISTER_CHECK(verified_here(session.tee));
  CLOISTER_TRY(devices, rcar::parse_additional_evidence(message.additional_evidence));
  CLOISTER_TRY(primary_data, rcar::primary_report_data(message.nonce, message.tee_key, message.additional_evidence));
  CLOISTER_TRY(device_data, rcar::device_report_data(message.nonce, message.tee_key));
  const auto current = rules_.current();

  const auto& cpu_policy = current->judging(kCpuPolicy);
  std::vector<token::Attester> others;
  for (const auto& one : devices) {
    if (one.device != Tee::sampledevice || !options_.allow_sample) {
      return Error{Errc::evidence_unsupported,
                   "additional_evidence: " + std::string{rcar::to_string(one.device)} + " evidence is not verified here"};
    }
    CLOISTER_TRY(device, appraise_sample(one.device, one.evidence, device_data, std::nullopt,
                                         {current->judging(kDevicePolicy).policy, current->reference_values,
                                          current->further(AttesterClass::device)}));
    services_.meters.policies.with({"attestation"}).observe(device.appraising);
    others.push_back(std::move(device.attester));
  }
  const auto whole = [&](Attested cpu) {
    services_.meters.policies.with({"attestation"}).observe(cpu.appraising);
    return Appraised{cpu_policy.ref, std::move(cpu.attester), std::move(others), std::move(cpu.init_data),
                     std::move(cpu.init_data_claims)};
  };
  if (session.tee == Tee::sample) {
    CLOISTER_TRY(evidence, json::parse(message.primary_evidence));
    CLOISTER_TRY(cpu, appraise_sample(session.tee, evidence, primary_data, init_data,
                                      {cpu_policy.policy, current->reference_values, current->further(AttesterClass::cpu)}));
    return whole(std::move(cpu));
  }
  const verdict::Terms terms{.anchors = services_.anchors,
                             .at = now,
                             .report_data = {},
                             .policy = {},
                             .rego = cpu_policy.policy,
                             .reference_values = current->reference_values,
                             .cache = services_.cache};
  CLOISTER_TRY(cpu, appraise_tee(rcar::to_string(session.tee), message.primary_evidence, rcar::padded(primary_data), init_data, terms,
                                 services_.sources, current->further(AttesterClass::cpu)));
  return whole(std::move(cpu));
}

/// The session's one attempt, its token and its leaf, or nothing of it.
Unrecorded<std::string> Handshakes::conclude(const SessionCookies::Session& session, const rcar::Attestation& message,
                                             const Result<Appraised>& appraised, UnixTime now) const {
  const auto token_id = ordered_id("tok", now, services_.random);
  const auto name = digest_of(session.id);
  struct Attempt {
    Result<std::string> token;
    std::optional<AttestedGuest> guest;
    merkle::AuditLeaf leaf;
  };
  const auto issue = [&]() -> Result<GuestTokens::Issued> {
    if (!appraised) return appraised.error();
    const token::GuestData said{message.nonce, message.tee_key.to_json(), message.additional_evidence, appraised->init_data,
                                appraised->init_data_claims, codec::to_hex(name)};
    return tokens_.issue(appraised->cpu, appraised->devices, said, message.tee_key, token_id, now);
  };
  auto issued = issue();
  Attempt attempt{issued ? Result<std::string>{std::move(issued->token)} : issued.error(), std::nullopt, leaf_of(kAttested, token_id, now)};
  if (issued) {
    attempt.guest = std::move(issued->guest);
    attempt.leaf.details = {{"tenant", options_.tenant.str()},
                            {"session", digest_bytes(name)},
                            {"key", digest_bytes(attempt.guest->key_digest())},
                            {"status", std::string{to_string(appraised->cpu.status())}},
                            {"policy", digest_bytes(appraised->policy.digest)},
                            {"lab", std::uint64_t{appraised->cpu.lab() ? 1U : 0U}},
                            {"sample", std::uint64_t{appraised->cpu.sample() ? 1U : 0U}}};
    if (const auto said = statuses_of(appraised->cpu); !said.empty()) attempt.leaf.details.emplace_back("policies", said);
  }
  const auto shared = std::make_shared<const Attempt>(std::move(attempt));
  return Unrecorded<std::string>{[this, shared, session, now](storage::Transaction& transaction) -> Result<Result<std::string>> {
    auto token = shared->token;
    // Nothing is revoked between this question and the leaf.
    if (token) {
      if (const auto held = revocations_.check(*shared->guest, now); !held) token = held.error();
    }
    const sessions::Record attempted{std::string{rcar::to_string(session.tee)}, session.expires, token ? std::optional{*token} : std::nullopt};
    CLOISTER_CHECK(sessions::conclude(transaction, options_.tenant, session.id, attempted, now));
    if (token) {
      CLOISTER_CHECK(services_.log.append(transaction, shared->leaf));
    }
    return token;
  }};
}

Result<std::string> Handshakes::token_of(std::string_view session, UnixTime now) const {
  CLOISTER_TRY(known, cookies_.read(session));
  CLOISTER_TRY(snapshot, services_.database.read());
  auto found = sessions::get(snapshot, options_.tenant, known.id, now);
  if (!found && found.error().code() != Errc::not_found) return found.error();
  if (found && found->token) return *std::move(found->token);
  return Error{Errc::unauthenticated, "an attested session expected"};
}

Result<std::vector<Handshakes::Session>> Handshakes::sessions(std::uint32_t limit, bool attested_only, UnixTime now) const {
  const auto read = [&]() -> Result<std::vector<std::pair<sessions::Id, sessions::Record>>> {
    CLOISTER_TRY(snapshot, services_.database.read());
    return sessions::list(snapshot, options_.tenant, now, limit, attested_only);
  };
  CLOISTER_TRY(held, read());
  std::vector<Session> out;
  for (const auto& [id, record] : held) {
    auto& one = out.emplace_back(Session{codec::to_hex(digest_of(id)), record.tee, record.expires, std::nullopt, false});
    if (!record.token) continue;
    auto guest = tokens_.verify(*record.token, now);
    if (!guest) continue;
    one.revoked = !revocations_.check(*guest, now);
    one.guest = *std::move(guest);
  }
  return out;
}

}  // namespace cloister::kbs
