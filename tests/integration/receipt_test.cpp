// Receipts whose log says whatever a lying server wants: everything else holds, and one thing does not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/protocol/times.hpp"
#include "world.hpp"

namespace cloister::test {
namespace {

using merkle::AuditLeaf;
using protocol::Envelope;
using std::chrono::hours;
using std::chrono::seconds;

Bytes digest_of(ByteView bytes) { return to_bytes(crypto::sha256(bytes)); }

void set(AuditLeaf& leaf, std::string_view name, merkle::DetailValue value) {
  for (auto& [key, held] : leaf.details) {
    if (key == name) held = std::move(value);
  }
}

void remove(AuditLeaf& leaf, std::string_view name) {
  std::erase_if(leaf.details, [&](const auto& detail) { return detail.first == name; });
}

/// A true receipt, taken apart. `check` builds a log of its two leaves as they are then, under a head that a trusted
/// key signs.
class Forge : public testing::Test {
 protected:
  /// Changes the envelope, which the instance signs, and what the log says of it.
  void sign(const std::function<void(Envelope&)>& change) {
    auto envelope = *protocol::decode_envelope(receipt.envelope);
    change(envelope);
    receipt.envelope = protocol::encode(envelope);
    receipt.signature = ready.td.result_key.sign(receipt.envelope);
    set(accepted, "envelope", digest_of(receipt.envelope));
    set(accepted, "session", envelope.session.str());
  }
  /// Makes the log agree with the evidence in the receipt.
  void log_evidence() {
    const auto& shown = receipt.evidence;
    set(appraisal, "evidence", digest_of(shown.evidence));
    set(appraisal, "event_log", digest_of(shown.event_log));
    set(appraisal, "configuration", digest_of(shown.configuration));
    set(appraisal, "preimage", digest_of(shown.preimage));
    set(appraisal, "collateral", digest_of(shown.collateral));
    set(appraisal, "expires", static_cast<std::uint64_t>(to_micros(shown.expires)));
    appraisal.time = shown.appraised;
  }
  /// Makes the log agree with the job in the receipt.
  void log_job() { set(accepted, "job", digest_of(protocol::encode_job_record(receipt.job, receipt.challenge))); }

  Result<receipt::Verified> check(std::optional<Bytes> output = {}) {
    receipt.appraisal.leaf = *merkle::encode(appraisal);
    receipt.result.leaf = *merkle::encode(accepted);
    const auto first = merkle::leaf_hash(receipt.appraisal.leaf);
    const auto second = merkle::leaf_hash(receipt.result.leaf);
    receipt.appraisal.proof = {0, 2, {second}};
    receipt.result.proof = {1, 2, {first}};
    receipt.head.head.tree_size = 2;
    receipt.head.head.root = merkle::node_hash(first, second);
    if (after_proof) after_proof();
    receipt.head.signature = log_key.sign(merkle::encode(receipt.head.head));
    return receipt::check(receipt, trust, {std::move(output), world.clock.now()});
  }
  Errc refused() {
    const auto verified = check();
    if (verified) return Errc::internal;
    detail = verified.error().detail();
    return verified.error().code();
  }

  World world;
  World::Ready ready = world.ready();
  World::ClientJob job = world.complete(ready);
  receipt::Receipt receipt = world.receipt_of(job);
  AuditLeaf appraisal = *merkle::decode_audit_leaf(receipt.appraisal.leaf);
  AuditLeaf accepted = *merkle::decode_audit_leaf(receipt.result.leaf);
  crypto::Ed25519Key log_key = crypto::Ed25519Key::generate(world.random);
  policy::TrustFile trust = [this] {
    auto file = world.trust();
    file.audit_keys = {log_key.public_key()};
    return file;
  }();
  std::function<void()> after_proof;
  std::string detail;
};

TEST_F(Forge, HoldsUnchanged) {
  const auto verified = check(to_bytes("out"));
  EXPECT_TRUE(verified) << verified.error().text();
}

// --- the log ---

TEST_F(Forge, HeadOfAnotherKey) {
  trust.audit_keys = {crypto::Ed25519Key::generate(world.random).public_key()};
  EXPECT_EQ(refused(), Errc::audit_key_not_trusted);
}

TEST_F(Forge, HeadOfOneOfSeveralTrustedKeysHolds) {
  trust.audit_keys.insert(trust.audit_keys.begin(), crypto::Ed25519Key::generate(world.random).public_key());
  EXPECT_TRUE(check());
}

TEST_F(Forge, HeadFromTheFuture) {
  receipt.head.head.time = world.clock.now() + protocol::kClockTolerance + seconds{1};
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  receipt.head.head.time = world.clock.now() + protocol::kClockTolerance;
  EXPECT_TRUE(check());
}

TEST_F(Forge, AppraisalThatIsNotInTheLog) {
  after_proof = [this] { receipt.appraisal.proof.path[0][0] ^= 1; };
  EXPECT_EQ(refused(), Errc::proof_invalid);
  after_proof = [this] { receipt.appraisal.proof.leaf_index = 1; };
  EXPECT_EQ(refused(), Errc::proof_invalid);
}

TEST_F(Forge, ResultThatIsNotInTheLog) {
  after_proof = [this] { receipt.result.proof.path[0][0] ^= 1; };
  EXPECT_EQ(refused(), Errc::proof_invalid);
}

TEST_F(Forge, LeavesOfAnotherKindOrAboutSomethingElse) {
  const auto true_appraisal = appraisal;
  appraisal.kind = "appraisal.refused";
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  appraisal = true_appraisal;
  appraisal.subject = "ses-other";
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  appraisal = true_appraisal;
  const auto true_result = accepted;
  accepted.kind = "result.refused";
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  accepted = true_result;
  accepted.subject = "job-other";
  EXPECT_EQ(refused(), Errc::receipt_invalid);
}

TEST_F(Forge, AppraisalLeafThatSpeaksOfOtherBytes) {
  const auto before = appraisal;
  for (const auto* name : {"evidence", "event_log", "configuration", "preimage", "collateral"}) {
    appraisal = before;
    set(appraisal, name, digest_of(to_bytes("other")));
    EXPECT_EQ(refused(), Errc::receipt_invalid) << name;
    EXPECT_NE(detail.find(name), std::string::npos) << detail;
    remove(appraisal, name);
    EXPECT_EQ(refused(), Errc::receipt_invalid) << name;
  }
  appraisal = before;
  set(appraisal, "policy", Bytes(31, 1));
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  remove(appraisal, "policy");
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  appraisal = before;
  set(appraisal, "version", "ver-other");
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  appraisal = before;
  set(appraisal, "expires", std::uint64_t{1});
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  appraisal = before;
  appraisal.time += seconds{1};
  EXPECT_EQ(refused(), Errc::receipt_invalid);
}

TEST_F(Forge, ShowsThePolicyThatTheAppraisalLeafNames) {
  const auto policy = Digest32{0x77};
  set(appraisal, "policy", to_bytes(ByteView{policy}));
  const auto verified = check();
  ASSERT_TRUE(verified.ok()) << verified.error().text();
  EXPECT_EQ(verified->policy_digest, policy);
}

TEST_F(Forge, ResultLeafThatSpeaksOfOtherBytes) {
  const auto before = accepted;
  for (const auto* name : {"job", "envelope"}) {
    accepted = before;
    set(accepted, name, digest_of(to_bytes("other")));
    EXPECT_EQ(refused(), Errc::receipt_invalid) << name;
    remove(accepted, name);
    EXPECT_EQ(refused(), Errc::receipt_invalid) << name;
  }
  accepted = before;
  set(accepted, "session", "ses-other");
  EXPECT_EQ(refused(), Errc::receipt_invalid);
}

TEST_F(Forge, JobThatIsNotTheLoggedOne) {
  receipt.job.tenant = *TenantId::parse("other");
  EXPECT_EQ(refused(), Errc::receipt_invalid);
  log_job();
  EXPECT_TRUE(check());
}

// --- the evidence ---

TEST_F(Forge, EvidenceWithAnotherSignature) {
  receipt.evidence.evidence[48 + 136] ^= 1;  // in the MRTD
  log_evidence();
  EXPECT_EQ(refused(), Errc::quote_signature_invalid);
}

TEST_F(Forge, EvidenceOfAnUnknownRoot) {
  trust.lab_roots.clear();
  EXPECT_EQ(refused(), Errc::lab_root_not_trusted);
}

TEST_F(Forge, PreimageThatIsNotBound) {
  auto preimage = *protocol::decode_preimage(receipt.evidence.preimage);
  preimage.nonce[0] ^= 1;
  receipt.evidence.preimage = protocol::encode(preimage);
  log_evidence();
  EXPECT_EQ(refused(), Errc::report_data_mismatch);
}

TEST_F(Forge, EventLogThatDoesNotReplay) {
  auto image = world.version.spec.image_digest;
  image[0] ^= 1;
  receipt.evidence.event_log = world.launch(world.guest_program, image, world.version.configuration).event_log;
  log_evidence();
  EXPECT_EQ(refused(), Errc::event_log_mismatch);
}

TEST_F(Forge, ConfigurationThatWasNotMeasured) {
  auto configuration = *protocol::decode_configuration(receipt.evidence.configuration);
  configuration.server_keys[0][0] ^= 1;
  receipt.evidence.configuration = protocol::encode(configuration);
  log_evidence();
  EXPECT_EQ(refused(), Errc::measurement_mismatch);
}

TEST_F(Forge, ReferenceValuesOfOtherFiles) {
  const auto differs = [this](auto change) {
    auto before = trust;
    change(trust.reference_values[0]);
    const auto code = refused();
    trust = std::move(before);
    return code;
  };
  using Reference = policy::ReferenceValue;
  EXPECT_EQ(differs([](Reference& r) { r.mrtd[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.image_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.configuration_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.challenge = "other"; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.version = "ver-other"; }), Errc::measurement_mismatch);
}

TEST_F(Forge, InstanceOfAServerThatTheTrustFileDoesNotName) {
  trust.server_keys = {crypto::X25519Key::generate(world.random).public_key()};
  EXPECT_EQ(refused(), Errc::binding_mismatch);
  trust.server_keys.push_back(world.server_key.public_key());
  EXPECT_TRUE(check());
  trust.server_keys.clear();
  EXPECT_TRUE(check());
}

TEST_F(Forge, EvidenceThatBindsInitData) {
  const auto answer = world.attest(ready.td, ready.session.instance(), [](protocol::Preimage& preimage) {
    preimage.init_data_digest = Digest32{1};
  });
  receipt.evidence.evidence = answer.evidence;
  receipt.evidence.preimage = answer.preimage;
  log_evidence();
  EXPECT_EQ(refused(), Errc::evidence_unsupported);
}

TEST_F(Forge, EvidenceOfAValidatorsTd) {
  const auto other = world.validator_td();
  const auto session = receipt.evidence.session;
  const auto appraised = receipt.evidence.appraised;
  const auto expires = receipt.evidence.expires;
  receipt.evidence = other.shown;
  receipt.evidence.session = session;
  receipt.evidence.appraised = appraised;
  receipt.evidence.expires = expires;
  log_evidence();
  trust.reference_values = {other.reference};
  EXPECT_EQ(refused(), Errc::binding_mismatch);
}

TEST_F(Forge, CollateralThatWasOverAtTheAppraisal) {
  world.clock.advance(hours{24 * 40});
  receipt.evidence.appraised = world.clock.now();
  receipt.evidence.expires = world.clock.now() + hours{1};
  receipt.head.head.time = world.clock.now();
  log_evidence();
  const auto code = refused();
  EXPECT_TRUE(code == Errc::tcb_info_expired || code == Errc::pck_crl_expired) << to_string(code);
}

TEST_F(Forge, IsAboutTheTimeOfTheAppraisalAndNotAboutToday) {
  world.clock.advance(hours{24 * 400});
  EXPECT_TRUE(check());
}

// --- the execution ---

TEST_F(Forge, EnvelopeOfAnotherKey) {
  receipt.signature = crypto::Ed25519Key::generate(world.random).sign(receipt.envelope);
  EXPECT_EQ(refused(), Errc::signature_invalid);
}

TEST_F(Forge, EnvelopeAboutSomethingElse) {
  const auto before = receipt;
  const auto differs = [&](const std::function<void(Envelope&)>& change) {
    receipt = before;
    sign(change);
    return refused();
  };
  EXPECT_EQ(differs([](Envelope& e) { e.job = *JobId::parse("job-x"); }), Errc::receipt_invalid);
  EXPECT_EQ(differs([](Envelope& e) { e.version = *VersionId::parse("ver-x"); }), Errc::receipt_invalid);
  EXPECT_EQ(differs([](Envelope& e) { e.input_commitment[0] ^= 1; }), Errc::receipt_invalid);
  EXPECT_EQ(differs([](Envelope& e) { e.session = *SessionId::parse("ses-x"); }), Errc::receipt_invalid);
  EXPECT_EQ(differs([](Envelope& e) { e.instance = *InstanceId::parse("inst-x"); }), Errc::receipt_invalid);
  EXPECT_EQ(differs([](Envelope& e) { e.image_digest[0] ^= 1; }), Errc::receipt_invalid);
  EXPECT_EQ(differs([](Envelope&) {}), Errc::internal);  // unchanged: holds
}

TEST_F(Forge, ExecutionOutsideOfItsSession) {
  const auto appraised = receipt.evidence.appraised;
  const auto expires = receipt.evidence.expires;
  const auto executed = [&](UnixTime started, UnixTime finished) {
    sign([&](Envelope& e) {
      e.started = started;
      e.finished = finished;
    });
    return refused();
  };
  const auto apart = protocol::kClockTolerance;
  EXPECT_EQ(executed(appraised - apart - seconds{1}, appraised), Errc::receipt_invalid);
  EXPECT_EQ(executed(expires, expires + apart + seconds{1}), Errc::receipt_invalid);
  EXPECT_EQ(executed(appraised - apart, expires + apart), Errc::internal);  // clocks may differ that much
  EXPECT_EQ(executed(from_micros(INT64_MIN), from_micros(INT64_MAX)), Errc::receipt_invalid);
}

// --- the opening ---

TEST_F(Forge, OpeningOfAnotherJob) {
  (*receipt.opening)[0] ^= 1;
  EXPECT_EQ(refused(), Errc::receipt_invalid);
}

TEST_F(Forge, OutputThatWasNotCommittedTo) {
  const auto verified = check(to_bytes("other"));
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code(), Errc::output_commitment_mismatch);
}

TEST_F(Forge, OutputUnderAnotherStatus) {
  sign([](Envelope& e) { e.status = "error"; });
  const auto verified = check(to_bytes("out"));
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code(), Errc::output_commitment_mismatch);
}

TEST_F(Forge, OutputThatNobodyCanOpen) {
  receipt.opening.reset();
  const auto verified = check(to_bytes("out"));
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code(), Errc::invalid_argument);
}

// --- the document ---

class ReceiptDocument : public Forge {
 protected:
  /// What is said of the receipt with one member (of an object in it) replaced, or removed where the value is nothing.
  Result<receipt::Receipt> with(std::string_view object, const std::string& member, std::optional<codec::json::Value> value) {
    auto document = receipt::to_json(receipt);
    auto* inner = &document;
    if (!object.empty()) {
      for (auto& [name, held] : *document.as_object()) {
        if (name == object) inner = &held;
      }
    }
    if (value) inner->set(member, std::move(*value));
    else std::erase_if(*inner->as_object(), [&](const auto& held) { return held.first == member; });
    return receipt::parse_receipt(codec::json::write(document));
  }
  void expect_refused(std::string_view object, const std::string& member, std::optional<codec::json::Value> value) {
    const auto parsed = with(object, member, std::move(value));
    ASSERT_FALSE(parsed) << object << '.' << member;
    EXPECT_EQ(parsed.error().code(), Errc::receipt_invalid);
  }
};

TEST_F(ReceiptDocument, NeedsEveryMemberButTheOpening) {
  const auto document = receipt::to_json(receipt);
  for (const auto& [name, value] : *document.as_object()) {
    if (name == "opening") {
      EXPECT_TRUE(with("", name, std::nullopt));
      continue;
    }
    expect_refused("", name, std::nullopt);
    if (value.as_object() == nullptr) continue;
    for (const auto& member : *value.as_object()) expect_refused(name, member.first, std::nullopt);
  }
  expect_refused("opening", "commitment_key", std::nullopt);
}

TEST_F(ReceiptDocument, HasNoMembersThatNobodyKnows) {
  for (const auto* object : {"", "job", "result", "evidence", "audit", "opening"}) expect_refused(object, "surprise", 1);
}

TEST_F(ReceiptDocument, HasOneFormat) {
  expect_refused("", "format", "cloister/receipt/2");
  expect_refused("", "format", 1);
}

TEST_F(ReceiptDocument, SpellsEveryValueInOneWay) {
  auto upper = codec::to_hex(receipt.job.salt);
  std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
  expect_refused("job", "salt", upper);
  expect_refused("job", "salt", codec::to_hex(receipt.job.salt).substr(2));
  expect_refused("job", "submitted", "2026-06-01T12:00:00.000Z");
  expect_refused("job", "submitted", "2026-06-01T14:00:00+02:00");
  expect_refused("job", "id", "No Id");
  expect_refused("evidence", "evidence", "not base64!");
}

TEST_F(ReceiptDocument, HasAnEnd) {
  const auto text = codec::json::write(receipt::to_json(receipt));
  EXPECT_TRUE(receipt::parse_receipt(text));
  EXPECT_FALSE(receipt::parse_receipt(text + "{}"));
  EXPECT_FALSE(receipt::parse_receipt(text.substr(0, text.size() - 1)));
  EXPECT_FALSE(receipt::parse_receipt(""));
}

}  // namespace
}  // namespace cloister::test
