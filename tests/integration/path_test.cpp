// The main job, station by station, and at each the refusals that matter most.
#include <gtest/gtest.h>

#include "cloister/channel/channel.hpp"
#include "cloister/crypto/hpke.hpp"
#include "cloister/storage/evidence.hpp"
#include "cloister/storage/fleet.hpp"
#include "world.hpp"

namespace cloister::test {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::internal : result.error().code();
}

// --- attestation ---

TEST(Attestation, GivesASessionToTheRightTdAndRecordsIt) {
  World w;
  const auto td = w.launch();
  const auto instance = w.new_instance();
  auto session = w.appraise(td, w.attest(td, instance));
  ASSERT_TRUE(session) << session.error().text();
  EXPECT_EQ(session->instance(), instance);
  EXPECT_EQ(session->version(), w.version.id);
  EXPECT_EQ(session->payload_key(), td.payload_key.public_key());
  EXPECT_TRUE(session->lab());
  EXPECT_EQ(session->expires(), w.clock.now() + hours{1});
  EXPECT_TRUE(w.log->find(session::kAppraisalAccepted, session->id().str()));
}

TEST(Attestation, RefusesAGuestProgramThatDiffersByOneByte) {
  World w;
  auto program = w.guest_program;
  program[12'345] ^= 1;
  const auto td = w.launch(program, w.version.spec.image_digest, w.version.configuration);
  auto session = w.appraise(td, w.attest(td, w.new_instance()));
  ASSERT_EQ(code_of(session), Errc::measurement_mismatch);
  EXPECT_NE(session.error().detail().find("MRTD: expected "), std::string::npos) << session.error().detail();
  EXPECT_NE(session.error().detail().find(", found "), std::string::npos);
}

TEST(Attestation, RefusesAnotherImageAndNamesBothDigests) {
  World w;
  auto image = w.version.spec.image_digest;
  image[0] ^= 1;
  // The guest measures what it runs; its configuration then names that image too, or the two would not agree.
  auto configuration = *protocol::decode_configuration(w.version.configuration);
  configuration.image_digest = image;
  const auto td = w.launch(w.guest_program, image, protocol::encode(configuration));
  auto session = w.appraise(td, w.attest(td, w.new_instance()));
  ASSERT_EQ(code_of(session), Errc::measurement_mismatch);
  EXPECT_NE(session.error().detail().find("image digest: expected "), std::string::npos) << session.error().detail();
}

TEST(Attestation, RefusesAConfigurationThatPinsAnotherServer) {
  World w;
  auto configuration = *protocol::decode_configuration(w.version.configuration);
  configuration.server_keys[0][0] ^= 1;
  const auto td = w.launch(w.guest_program, w.version.spec.image_digest, protocol::encode(configuration));
  auto session = w.appraise(td, w.attest(td, w.new_instance()));
  ASSERT_EQ(code_of(session), Errc::measurement_mismatch);
  EXPECT_NE(session.error().detail().find("configuration digest"), std::string::npos);
}

TEST(Attestation, RefusesAGuestThatLiesAboutItsMeasurement) {
  World w;
  auto program = w.guest_program;
  program[0] ^= 1;
  const auto honest = w.launch();
  auto liar = w.launch(program, w.version.spec.image_digest, w.version.configuration);
  // A log that says what was expected does not replay to the registers that the platform reports.
  auto other_image = w.version.spec.image_digest;
  other_image[5] ^= 1;
  auto wrong_image = w.launch(w.guest_program, other_image, w.version.configuration);
  wrong_image.event_log = honest.event_log;
  EXPECT_EQ(code_of(w.appraise(wrong_image, w.attest(wrong_image, w.new_instance()))), Errc::event_log_mismatch);
  // A quote whose MRTD was edited is not signed any more.
  auto answer = w.attest(liar, w.new_instance());
  const auto& mrtd = w.version.reference.mrtd;
  for (std::size_t i = 0; i < mrtd.size(); ++i) answer.evidence[48 + 136 + i] = mrtd[i];
  EXPECT_EQ(code_of(w.appraise(liar, answer)), Errc::quote_signature_invalid);
}

TEST(Attestation, RefusesAQuoteThatAnotherPlatformSigned) {
  World w;
  const auto other = lab::Platform::create(crypto::Secret<32>{ByteArray<32>{99}}, w.clock.now() - hours{24});
  const auto td = w.launch();
  auto answer = w.attest(td, w.new_instance());
  const measure::TdFile file{"cloister-guest", 0755, w.guest_program};
  auto forged = other.launch({}, {&file, 1});
  ASSERT_TRUE(forged);
  auto quote = other.quote(*forged->tdg_mr_report(protocol::report_data(answer.preimage)));
  ASSERT_TRUE(quote);
  answer.evidence = *quote;
  EXPECT_EQ(code_of(w.appraise(td, answer)), Errc::lab_root_not_trusted);
}

TEST(Attestation, RefusesLabEvidenceWhereNoTrustFileNamesTheRoot) {
  World w;
  w.anchors = attestation::TrustAnchors::vendors();
  const auto td = w.launch();
  EXPECT_EQ(code_of(w.appraise(td, w.attest(td, w.new_instance()))), Errc::lab_root_not_trusted);
}

TEST(Attestation, RefusesExpiredCollateral) {
  World w;
  w.clock.advance(hours{24 * 40});
  const auto td = w.launch();
  const auto code = code_of(w.appraise(td, w.attest(td, w.new_instance())));
  EXPECT_TRUE(code == Errc::tcb_info_expired || code == Errc::pck_crl_expired) << to_string(code);
}

TEST(Attestation, RefusesEvidenceOfAnotherConnection) {
  const auto refused = [](auto change) {
    World w;
    const auto td = w.launch();
    auto answer = w.attest(td, w.new_instance());
    change(w, answer.connection);
    return code_of(w.appraise(td, answer));
  };
  using C = session::Connection;
  EXPECT_EQ(refused([](World&, C& c) { c.handshake_hash[0] ^= 1; }), Errc::binding_mismatch);
  EXPECT_EQ(refused([](World&, C& c) { c.server_key[0] ^= 1; }), Errc::binding_mismatch);
  EXPECT_EQ(refused([](World& w, C& c) { c.nonce = *w.sessions->issue_nonce(w.clock.now()); }), Errc::binding_mismatch);
  EXPECT_EQ(refused([](World& w, C& c) { c.instance = w.new_instance(); }), Errc::binding_mismatch);
  EXPECT_EQ(refused([](World&, C& c) { c.role = protocol::Role::validator; }), Errc::binding_mismatch);
}

TEST(Attestation, RefusesInitDataThatNobodyCouldExplain) {
  World w;
  const auto td = w.launch();
  const auto answer = w.attest(td, w.new_instance(), [](protocol::Preimage& p) { p.init_data_digest = Digest32{1}; });
  EXPECT_EQ(code_of(w.appraise(td, answer)), Errc::evidence_unsupported);
}

TEST(Attestation, RefusesAReplayAndAnOldNonce) {
  World w;
  const auto td = w.launch();
  const auto instance = w.new_instance();
  const auto answer = w.attest(td, instance);
  ASSERT_TRUE(w.appraise(td, answer));
  EXPECT_EQ(code_of(w.appraise(td, answer)), Errc::nonce_invalid);
  const auto late = w.attest(td, instance);
  w.clock.advance(session::AttestedSessions::kNonceLifetime);
  EXPECT_EQ(code_of(w.appraise(td, late)), Errc::nonce_invalid);
}

TEST(Attestation, RefusesOtherKeysOfTheSameInstance) {
  World w;
  const auto instance = w.new_instance();
  const auto first = w.launch();
  ASSERT_TRUE(w.appraise(first, w.attest(first, instance)));
  EXPECT_TRUE(w.appraise(first, w.attest(first, instance)));
  const auto second = w.launch();
  EXPECT_EQ(code_of(w.appraise(second, w.attest(second, instance))), Errc::conflict);
}

TEST(Attestation, KeepsTheEvidenceOfResultsAndOfTheNewestSessionsAlone) {
  World w;
  auto ready = w.ready();
  const auto with_result = ready.session.id();
  static_cast<void>(w.complete(ready));
  std::vector<SessionId> later;
  for (int i = 0; i < 6; ++i) {
    w.clock.advance(seconds{1});
    auto session = w.appraise(ready.td, w.attest(ready.td, ready.session.instance()));
    ASSERT_TRUE(session) << session.error().text();
    later.push_back(session->id());
  }
  const auto snapshot = w.database->read();
  const auto kept = [&](const SessionId& id) { return storage::evidence::get(*snapshot, id).ok(); };
  EXPECT_TRUE(kept(with_result));
  for (std::size_t i = 0; i < later.size(); ++i) EXPECT_EQ(kept(later[i]), i >= 2) << i;
}

TEST(Result, OfAnEarlierSessionIsAcceptedWhereItsWorkWasDoneInIt) {
  World w;
  auto ready = w.ready();
  const auto job = w.seal({&ready});
  ASSERT_TRUE(w.jobs->submit(w.tenant, job.request, w.clock.now()));
  auto assigned = w.jobs->lease(ready.session, w.clock.now());
  ASSERT_TRUE(assigned && *assigned);
  const auto of_first = w.execute(ready, **assigned);
  const auto too_late = w.execute(ready, **assigned, [&](protocol::Envelope& e) { e.finished += hours{4}; });
  const auto stranger = w.ready();
  const auto of_stranger = w.execute(ready, **assigned, [&](protocol::Envelope& e) { e.session = stranger.session.id(); });
  w.clock.advance(std::chrono::minutes{30});
  auto second = w.appraise(ready.td, w.attest(ready.td, ready.session.instance()));
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_EQ(code_of(w.jobs->accept(*second, too_late, w.clock.now())), Errc::envelope_invalid);
  EXPECT_EQ(code_of(w.jobs->accept(*second, of_stranger, w.clock.now())), Errc::envelope_invalid);
  EXPECT_TRUE(w.jobs->accept(*second, of_first, w.clock.now()));
}

TEST(Channel, CannotBeFinishedByAServerWithAnotherKey) {
  World w;
  channel::Initiator td{w.server_key.public_key(), protocol::Role::instance, w.random};
  auto hello = td.start();
  ASSERT_TRUE(hello);
  const auto other = crypto::X25519Key::generate(w.random);
  const crypto::X25519Key* keys[] = {&other};
  channel::Responder false_server{keys, protocol::Role::instance, w.random};
  EXPECT_EQ(code_of(false_server.feed(*hello)), Errc::handshake_failed);
}

// --- release ---

TEST(Release, GoesToTheVerifiedInstanceAlone) {
  World w;
  const auto ready = w.ready();
  auto release = w.broker->release_all(ready.session, w.clock.now());
  ASSERT_TRUE(release) << release.error().text();
  ASSERT_EQ(release->secrets.size(), 1U);
  const auto& sealed = release->secrets[0];
  const auto info = protocol::release_info(ready.session.id(), sealed.path, sealed.version);
  auto opened = crypto::hpke_open(ready.td.payload_key, sealed.enc, info, {}, sealed.ciphertext);
  ASSERT_TRUE(opened);
  EXPECT_EQ(as_text(opened->reveal()), "sesame");
  const auto stranger = crypto::X25519Key::generate(w.random);
  EXPECT_FALSE(crypto::hpke_open(stranger, sealed.enc, info, {}, sealed.ciphertext));
  EXPECT_TRUE(w.log->find(keybroker::kSecretReleased, "example/salt"));
}

TEST(Release, RefusesSecretsThatTheVersionDoesNotName) {
  World w;
  const auto ready = w.ready();
  ASSERT_TRUE(w.broker->put(w.tenant, "example/other", to_bytes("x"), "tester", w.clock.now()));
  EXPECT_EQ(code_of(w.broker->decide(ready.session, {"other", "example/other"}, w.clock.now())), Errc::permission_denied);
  EXPECT_EQ(code_of(w.broker->decide(ready.session, {"salt", "example/absent"}, w.clock.now())), Errc::permission_denied);
}

TEST(Release, RefusesAnExpiredSessionAndADecisionForAnother) {
  World w;
  const auto first = w.ready();
  const auto second = w.ready();
  const model::SecretRef salt{"salt", "example/salt"};
  auto decision = w.broker->decide(first.session, salt, w.clock.now());
  ASSERT_TRUE(decision);
  EXPECT_EQ(code_of(w.broker->release(second.session, *std::move(decision), w.clock.now())), Errc::permission_denied);
  w.clock.advance(hours{1});
  EXPECT_EQ(code_of(w.broker->decide(first.session, salt, w.clock.now())), Errc::session_expired);
}

TEST(Release, FailsWhenASecretIsMissing) {
  World w;
  const auto ready = w.ready();
  ASSERT_TRUE(w.broker->remove(w.tenant, "example/salt", "tester", w.clock.now()));
  EXPECT_EQ(code_of(w.broker->release_all(ready.session, w.clock.now())), Errc::permission_denied);
}

// --- jobs ---

TEST(Job, GoesFromSubmissionToAResultThatTheClientOpens) {
  World w;
  const auto ready = w.ready();
  const auto job = w.complete(ready);
  EXPECT_EQ(w.jobs->get(w.tenant, job.keys.job())->state, model::JobState::succeeded);
  auto result = w.jobs->result(w.tenant, job.keys.job());
  ASSERT_TRUE(result);
  auto envelope = protocol::decode_envelope(result->envelope);
  ASSERT_TRUE(envelope);
  auto output = protocol::open_output(job.keys, *envelope, *result);
  ASSERT_TRUE(output) << output.error().text();
  EXPECT_EQ(as_text(output->reveal()), "out");
}

TEST(Job, IsTheSameOnARetryAndRefusedUnderAUsedKey) {
  World w;
  const auto ready = w.ready();
  auto job = w.seal({&ready});
  EXPECT_TRUE(w.jobs->submit(w.tenant, job.request, w.clock.now())->created);
  EXPECT_FALSE(w.jobs->submit(w.tenant, job.request, w.clock.now())->created);
  job.request.deadline += seconds{1};
  EXPECT_EQ(code_of(w.jobs->submit(w.tenant, job.request, w.clock.now())), Errc::idempotency_conflict);
}

TEST(Job, WaitsForRecipientsWhereThereAreNone) {
  World w;
  auto job = w.seal({});
  auto submitted = w.jobs->submit(w.tenant, job.request, w.clock.now());
  ASSERT_TRUE(submitted) << submitted.error().text();
  EXPECT_EQ(submitted->job.state, model::JobState::awaiting_rewrap);
  const auto ready = w.ready();
  EXPECT_FALSE(*w.jobs->lease(ready.session, w.clock.now()));
  auto missing = w.jobs->missing_recipients(job.keys.job());
  ASSERT_TRUE(missing);
  EXPECT_EQ(*missing, std::vector{ready.session.instance()});
  const auto wrapped = w.seal({&ready});
  auto updated = w.jobs->add_recipients(w.tenant, job.keys.job(), wrapped.request.recipients);
  ASSERT_TRUE(updated);
  EXPECT_EQ(updated->state, model::JobState::queued);
  EXPECT_TRUE(*w.jobs->lease(ready.session, w.clock.now()));
}

TEST(Job, IsHiddenFromOtherTenants) {
  World w;
  const auto ready = w.ready();
  const auto job = w.complete(ready);
  const auto other = *TenantId::parse("other");
  EXPECT_EQ(code_of(w.jobs->get(other, job.keys.job())), Errc::not_found);
  EXPECT_EQ(code_of(w.jobs->result(other, job.keys.job())), Errc::not_found);
  EXPECT_EQ(code_of(w.jobs->cancel(other, job.keys.job(), "x", w.clock.now())), Errc::not_found);
}

TEST(Job, IsNotOpenedWhenItsCiphertextIsAnother) {
  World w;
  const auto ready = w.ready();
  const auto first = w.seal({&ready}, "one");
  const auto second = w.seal({&ready}, "two");
  const auto& r = first.request.recipients[0];
  EXPECT_EQ(code_of(protocol::open_job(ready.td.payload_key, first.request.job, w.version.id, r.instance,
                                       first.request.input_commitment, second.request.ciphertext, r.enc, r.sealed_key)),
            Errc::decryption_failed);
}

/// A leased job and its instance, and what the server says to a changed result.
struct Leased {
  World w;
  World::Ready ready = w.ready();
  World::ClientJob job = w.seal({&ready});
  protocol::AssignJob assigned;
  Leased() {
    EXPECT_TRUE(w.jobs->submit(w.tenant, job.request, w.clock.now()));
    auto lease = w.jobs->lease(ready.session, w.clock.now());
    EXPECT_TRUE(lease && *lease);
    assigned = **lease;
  }
  Errc offer(const protocol::SubmitResult& result) {
    const auto accepted = w.jobs->accept(ready.session, result, w.clock.now());
    return accepted ? Errc::internal : accepted.error().code();
  }
  Errc offer_with(const std::function<void(protocol::Envelope&)>& change) {
    return offer(w.execute(ready, assigned, change));
  }
};

TEST(Result, IsRefusedWhenItsEnvelopeIsAboutSomethingElse) {
  using E = protocol::Envelope;
  Leased l;
  EXPECT_EQ(l.offer_with([](E& e) { e.session = *SessionId::parse("ses-x"); }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.instance = *InstanceId::parse("inst-x"); }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.version = *VersionId::parse("ver-x"); }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.image_digest[0] ^= 1; }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.attempt = *AttemptId::parse("att-x"); }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.job = *JobId::parse("job-x"); }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.fence += 1; }), Errc::stale_fence);
  EXPECT_EQ(l.offer_with([](E& e) { e.input_commitment[0] ^= 1; }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.sealed_output_digest[0] ^= 1; }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.finished += hours{4}; }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with([](E& e) { e.started -= hours{3}; }), Errc::envelope_invalid);
  EXPECT_EQ(l.offer_with({}), Errc::internal);  // unchanged: accepted
}

TEST(Result, IsRefusedWithAnotherSignatureOrSwappedCiphertext) {
  Leased l;
  auto result = l.w.execute(l.ready, l.assigned);
  auto changed = result;
  changed.signature[0] ^= 1;
  EXPECT_EQ(l.offer(changed), Errc::signature_invalid);
  changed = result;
  changed.sealed_output[0] ^= 1;
  EXPECT_EQ(l.offer(changed), Errc::envelope_invalid);
  changed = result;
  changed.envelope.back() ^= 1;
  EXPECT_EQ(l.offer(changed), Errc::signature_invalid);
}

TEST(Result, IsAcceptedOnceAndTheSameAgainIsHarmless) {
  Leased l;
  const auto result = l.w.execute(l.ready, l.assigned);
  EXPECT_EQ(l.offer(result), Errc::internal);
  EXPECT_EQ(l.offer(result), Errc::internal);
  const auto other = l.w.execute(l.ready, l.assigned);  // sealed anew: other bytes
  EXPECT_EQ(l.offer(other), Errc::conflict);
}

TEST(Result, OfAStaleFenceIsRefused) {
  Leased l;
  const auto late = l.w.execute(l.ready, l.assigned);
  l.w.clock.advance(seconds{31});
  auto ended = l.w.jobs->tick(l.w.clock.now());
  ASSERT_TRUE(ended);
  ASSERT_EQ(ended->lost.size(), 1U);
  auto again = l.w.jobs->lease(l.ready.session, l.w.clock.now());
  ASSERT_TRUE(again && *again);
  EXPECT_GT((*again)->fence, l.assigned.fence);
  EXPECT_EQ(l.offer(late), Errc::stale_fence);
  EXPECT_EQ(l.offer(l.w.execute(l.ready, **again)), Errc::internal);
}

TEST(Result, OfAnotherInstancesLeaseIsRefused) {
  Leased l;
  const auto other = l.w.ready();
  auto result = l.w.execute(l.ready, l.assigned);
  EXPECT_EQ(code_of(l.w.jobs->accept(other.session, result, l.w.clock.now())), Errc::signature_invalid);
  EXPECT_EQ(code_of(l.w.jobs->heartbeat(other.session, {l.assigned.attempt, l.assigned.fence, 1}, l.w.clock.now())),
            Errc::permission_denied);
}

TEST(Attempt, IsNotProlongedByAnExpiredSession) {
  Leased l;
  const protocol::Heartbeat beat{l.assigned.attempt, l.assigned.fence, 1};
  EXPECT_TRUE(l.w.jobs->heartbeat(l.ready.session, beat, l.w.clock.now()));
  l.w.clock.advance(hours{1});
  EXPECT_EQ(code_of(l.w.jobs->heartbeat(l.ready.session, beat, l.w.clock.now())), Errc::session_expired);
}

TEST(Attempt, ThatDoesNotOpenFailsTheJobAtOnce) {
  Leased l;
  ASSERT_TRUE(l.w.jobs->fail(l.ready.session, {l.assigned.attempt, l.assigned.fence, "input_commitment_mismatch"},
                             l.w.clock.now()));
  const auto job = l.w.jobs->get(l.w.tenant, l.job.keys.job());
  ASSERT_TRUE(job);
  EXPECT_EQ(job->state, model::JobState::failed);
  EXPECT_EQ(job->failure, "input_commitment_mismatch");
}

TEST(Attempt, OfAnInstanceThatWentAwayGoesToAnotherRecipient) {
  World w;
  const auto first = w.ready();
  const auto second = w.ready();
  auto job = w.seal({&first, &second});
  ASSERT_TRUE(w.jobs->submit(w.tenant, job.request, w.clock.now()));
  ASSERT_TRUE(*w.jobs->lease(first.session, w.clock.now()));
  ASSERT_TRUE(w.jobs->end_instance(first.session.instance(), model::InstanceState::lost, "gone", w.clock.now()));
  EXPECT_EQ(w.jobs->get(w.tenant, job.keys.job())->state, model::JobState::queued);
  EXPECT_TRUE(*w.jobs->lease(second.session, w.clock.now()));
}

// --- receipt ---

struct WithReceipt {
  World w;
  World::Ready ready = w.ready();
  World::ClientJob job = w.complete(ready);
  receipt::Receipt receipt = w.receipt_of(job);
  [[nodiscard]] Result<receipt::Verified> check(const policy::TrustFile& trust, std::optional<Bytes> output = {}) const {
    return receipt::check(receipt, trust, {std::move(output), w.clock.now()});
  }
};

TEST(Receipt, HoldsAgainstTheClientsTrust) {
  WithReceipt r;
  auto verified = r.check(r.w.trust(), to_bytes("out"));
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_TRUE(verified->lab);
  EXPECT_EQ(verified->envelope.job, r.job.keys.job());
  EXPECT_GE(verified->findings.size(), 6U);
}

TEST(Receipt, IsRefusedWithoutEachPartOfTheTrust) {
  WithReceipt r;
  auto trust = r.w.trust();
  trust.audit_keys.clear();
  EXPECT_EQ(code_of(r.check(trust)), Errc::audit_key_not_trusted);
  trust = r.w.trust();
  trust.lab_roots.clear();
  EXPECT_EQ(code_of(r.check(trust)), Errc::lab_root_not_trusted);
  trust = r.w.trust();
  trust.reference_values.clear();
  EXPECT_EQ(code_of(r.check(trust)), Errc::measurement_mismatch);
  trust = r.w.trust();
  trust.reference_values[0].image_digest[0] ^= 1;
  EXPECT_EQ(code_of(r.check(trust)), Errc::measurement_mismatch);
}

TEST(Receipt, IsRefusedForAnotherOutput) {
  WithReceipt r;
  EXPECT_EQ(code_of(r.check(r.w.trust(), to_bytes("other"))), Errc::output_commitment_mismatch);
  r.receipt.opening.reset();
  EXPECT_EQ(code_of(r.check(r.w.trust(), to_bytes("out"))), Errc::invalid_argument);
  EXPECT_TRUE(r.check(r.w.trust()));
}

TEST(Receipt, RoundTripsAsJson) {
  WithReceipt r;
  const auto text = codec::json::write_pretty(receipt::to_json(r.receipt));
  auto parsed = receipt::parse_receipt(text);
  ASSERT_TRUE(parsed) << parsed.error().text();
  EXPECT_EQ(codec::json::write_pretty(receipt::to_json(*parsed)), text);
}

TEST(Receipt, IsRefusedWhateverCharacterChanges) {
  WithReceipt r;
  const auto trust = r.w.trust();
  const auto text = codec::json::write(receipt::to_json(r.receipt));
  std::size_t tried = 0;
  for (std::size_t i = 0; i < text.size(); i += 61) {
    if (std::isalnum(static_cast<unsigned char>(text[i])) == 0) continue;
    auto changed = text;
    changed[i] = text[i] == 'b' ? 'c' : 'b';
    ++tried;
    auto parsed = receipt::parse_receipt(changed);
    if (!parsed) continue;
    auto verified = receipt::check(*parsed, trust, {std::nullopt, r.w.clock.now()});
    EXPECT_FALSE(verified) << "at " << i << ": " << text.substr(i > 40 ? i - 40 : 0, 80);
  }
  EXPECT_GT(tried, 200U);
}

TEST(Receipt, FromTheFutureIsRefused) {
  WithReceipt r;
  EXPECT_EQ(code_of(receipt::check(r.receipt, r.w.trust(), {std::nullopt, r.w.clock.now() - hours{3}})),
            Errc::receipt_invalid);
}

}  // namespace
}  // namespace cloister::test
