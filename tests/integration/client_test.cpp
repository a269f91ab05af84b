// The client's side against a server that may lie: what it verifies before it seals anything, and what it believes of
// the answers.
#include <gtest/gtest.h>

#include <map>

#include "cloister/client/job_runner.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/http/server.hpp"
#include "cloister/storage/fleet.hpp"
#include "cloister/storage/jobs.hpp"
#include "world.hpp"

namespace cloister::test {
namespace {

namespace json = codec::json;
using http::Method;
using std::chrono::hours;
using std::chrono::seconds;

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::internal : result.error().code();
}

// --- what is verified of an instance ---

/// A ready instance as a server shows it, and the trust of a client.
class VerifyInstance : public testing::Test {
 protected:
  VerifyInstance() {
    const auto snapshot = world.database->read();
    EXPECT_TRUE(snapshot);
    auto shown = storage::instances::get(*snapshot, ready.session.instance());
    EXPECT_TRUE(shown && shown->evidence);
    instance = *std::move(shown);
  }
  [[nodiscard]] Result<client::VerifiedInstance> verify() const {
    return client::verify_instance(instance, trust, world.version.spec.challenge, world.version.id, world.clock.now());
  }
  [[nodiscard]] Errc refused() const { return code_of(verify()); }
  model::InstanceEvidence& shown() { return *instance.evidence; }
  void change_preimage(const std::function<void(protocol::Preimage&)>& change) {
    auto preimage = *protocol::decode_preimage(shown().preimage);
    change(preimage);
    shown().preimage = protocol::encode(preimage);
  }

  World world;
  World::Ready ready = world.ready();
  policy::TrustFile trust = world.trust();
  model::Instance instance;
};

TEST_F(VerifyInstance, TakesTheKeysFromTheEvidenceAlone) {
  instance.payload_key.fill(0xEE);
  instance.result_key.fill(0xEE);
  const auto verified = verify();
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_EQ(verified->id, ready.session.instance());
  EXPECT_EQ(verified->payload_key, ready.td.payload_key.public_key());
  EXPECT_EQ(verified->result_key, ready.td.result_key.public_key());
  EXPECT_EQ(verified->mrtd, world.version.reference.mrtd);
  EXPECT_EQ(verified->tcb, attestation::TcbStatus::up_to_date);
  EXPECT_TRUE(verified->lab);
}

TEST_F(VerifyInstance, RefusesOneWithoutEvidence) {
  instance.evidence.reset();
  EXPECT_EQ(refused(), Errc::evidence_malformed);
}

TEST_F(VerifyInstance, RefusesTheEvidenceOfAnother) {
  instance.id = *InstanceId::parse("inst-other");
  EXPECT_EQ(refused(), Errc::binding_mismatch);
}

TEST_F(VerifyInstance, RefusesAQuoteThatIsNotSigned) {
  shown().evidence[48 + 136] ^= 1;  // in the MRTD
  EXPECT_EQ(refused(), Errc::quote_signature_invalid);
  shown().evidence.resize(40);
  EXPECT_NE(refused(), Errc::internal);
}

TEST_F(VerifyInstance, RefusesLabEvidenceWithoutItsRoot) {
  trust.lab_roots.clear();
  EXPECT_EQ(refused(), Errc::lab_root_not_trusted);
}

TEST_F(VerifyInstance, RefusesAnyOtherPreimage) {
  const auto before = instance;
  const auto differs = [&](const std::function<void(protocol::Preimage&)>& change) {
    instance = before;
    change_preimage(change);
    return refused();
  };
  using P = protocol::Preimage;
  EXPECT_EQ(differs([](P& p) { p.server_key_id[0] ^= 1; }), Errc::report_data_mismatch);
  EXPECT_EQ(differs([](P& p) { p.nonce[0] ^= 1; }), Errc::report_data_mismatch);
  EXPECT_EQ(differs([](P& p) { p.handshake_hash[0] ^= 1; }), Errc::report_data_mismatch);
  EXPECT_EQ(differs([](P& p) { p.instance = *InstanceId::parse("inst-other"); }), Errc::report_data_mismatch);
  EXPECT_EQ(differs([](P& p) { p.init_data_digest = Digest32{1}; }), Errc::report_data_mismatch);
  EXPECT_EQ(differs([](P& p) { p.keys[0].public_key[0] ^= 1; }), Errc::report_data_mismatch);
  EXPECT_EQ(differs([](P& p) { p.keys[1].public_key[0] ^= 1; }), Errc::report_data_mismatch);
  instance = before;
  shown().preimage.pop_back();
  EXPECT_NE(refused(), Errc::internal);
}

TEST_F(VerifyInstance, RefusesInitDataAlsoWhereItIsBound) {
  const auto answer = world.attest(ready.td, instance.id, [](protocol::Preimage& p) { p.init_data_digest = Digest32{1}; });
  shown().evidence = answer.evidence;
  shown().preimage = answer.preimage;
  EXPECT_EQ(refused(), Errc::evidence_unsupported);
}

TEST_F(VerifyInstance, RefusesAnotherLogOrConfiguration) {
  const auto before = instance;
  shown().event_log.back() ^= 1;
  EXPECT_NE(refused(), Errc::internal);
  instance = before;
  auto image = world.version.spec.image_digest;
  image[0] ^= 1;
  shown().event_log = world.launch(world.guest_program, image, world.version.configuration).event_log;
  EXPECT_EQ(refused(), Errc::event_log_mismatch);
  instance = before;
  auto configuration = *protocol::decode_configuration(shown().configuration);
  configuration.server_keys[0][0] ^= 1;
  shown().configuration = protocol::encode(configuration);
  EXPECT_EQ(refused(), Errc::measurement_mismatch);
}

TEST_F(VerifyInstance, RefusesEveryOtherReferenceValue) {
  const auto differs = [this](auto change) {
    trust = world.trust();
    change(trust.reference_values[0]);
    return refused();
  };
  using Reference = policy::ReferenceValue;
  EXPECT_EQ(differs([](Reference& r) { r.mrtd[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.image_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.configuration_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.challenge = "other"; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference& r) { r.version = "ver-other"; }), Errc::measurement_mismatch);
  EXPECT_EQ(differs([](Reference&) {}), Errc::internal);  // unchanged: accepted
  trust.reference_values.clear();
  EXPECT_EQ(refused(), Errc::measurement_mismatch);
}

TEST_F(VerifyInstance, RefusesAServerThatTheTrustFileDoesNotName) {
  trust.server_keys = {crypto::X25519Key::generate(world.random).public_key()};
  EXPECT_EQ(refused(), Errc::binding_mismatch);
  trust.server_keys.push_back(world.server_key.public_key());
  EXPECT_TRUE(verify());
}

TEST_F(VerifyInstance, RefusesUnusableOrOldCollateral) {
  const auto before = instance;
  shown().collateral = to_bytes("{}");
  EXPECT_NE(refused(), Errc::internal);
  instance = before;
  world.clock.advance(hours{24 * 40});
  const auto code = refused();
  EXPECT_TRUE(code == Errc::tcb_info_expired || code == Errc::pck_crl_expired) << to_string(code);
}

TEST_F(VerifyInstance, RefusesAValidatorsTd) {
  const auto other = world.validator_td();
  instance.evidence = other.shown;
  trust.reference_values = {other.reference};
  EXPECT_EQ(refused(), Errc::binding_mismatch);
}

// --- jobs ---

/// Real services behind the routes that a client uses. A test changes what instances do and what the server answers.
class ClientJob : public testing::Test {
 protected:
  void SetUp() override {
    io.start();
    http::Router router;
    add(router, Method::get, "/api/v1/versions/{id}/instances", [this](const http::Request&) { return instances(); });
    add(router, Method::get, "/api/v1/versions/{id}", [this](const http::Request&) -> Result<json::Value> {
      return model::to_json(world.version);
    });
    add(router, Method::post, "/api/v1/challenges", [this](const http::Request& request) -> Result<json::Value> {
      CLOISTER_TRY(body, http::json_body(request));
      CLOISTER_TRY(spec, model::parse_challenge_spec(body));
      CLOISTER_TRY(added, world.registry->add(world.tenant, spec, "tester", world.clock.now()));
      return model::to_json(added);
    });
    add(router, Method::post, "/api/v1/jobs", [this](const http::Request& request) { return submit(request); });
    add(router, Method::get, "/api/v1/jobs", [this](const http::Request& request) { return page(request); });
    add(router, Method::get, "/api/v1/jobs/{id}", [this](const http::Request& request) { return look(request); });
    add(router, Method::put, "/api/v1/jobs/{id}/recipients", [this](const http::Request& request) { return rewrap(request); });
    add(router, Method::get, "/api/v1/jobs/{id}/result", [this](const http::Request& request) -> Result<json::Value> {
      CLOISTER_TRY(result, world.jobs->result(world.tenant, *JobId::parse(request.param("id"))));
      return model::to_json(result);
    });
    add(router, Method::get, "/api/v1/jobs/{id}/receipt", [this](const http::Request& request) { return receipt(request); });
    http::ServerOptions options;
    options.upload_directory = world.dir.path();
    options.handlers = io.strand();
    auto listening = http::Server::listen(io, std::move(options), std::move(router), logger);
    ASSERT_TRUE(listening) << listening.error().text();
    server = std::move(*listening);
  }
  void TearDown() override {
    if (server) runtime::block_on(io, server->stop());
  }

  using Answer = std::function<Result<json::Value>(const http::Request&)>;
  void add(http::Router& router, Method method, const std::string& pattern, Answer answer) {
    router.add(method, pattern, http::kPublic,
               [this, answer = std::move(answer)](http::Request request) -> runtime::Task<http::Response> {
                 ++calls[request.route];
                 auto value = answer(request);
                 if (!value) co_return http::problem(value.error(), request.request_id);
                 if (const auto lie = lies.find(request.route); lie != lies.end()) lie->second(*value);
                 co_return http::json_response(*value);
               });
  }

  Result<json::Value> instances() {
    CLOISTER_TRY(snapshot, world.database->read());
    storage::instances::Filter filter;
    filter.version = world.version.id;
    filter.state = model::InstanceState::ready;
    filter.with_evidence = true;
    CLOISTER_TRY(found, storage::instances::list(snapshot, filter));
    json::Array list;
    for (const auto& instance : found) list.push_back(model::to_json(instance, true));
    return json::Value{json::Object{{"instances", std::move(list)}}};
  }
  Result<json::Value> view(const JobId& id) {
    CLOISTER_TRY(job, world.jobs->get(world.tenant, id));
    CLOISTER_TRY(missing, world.jobs->missing_recipients(id));
    json::Array names;
    for (const auto& instance : missing) names.emplace_back(instance.str());
    auto value = model::to_json(job);
    value.set("missing_recipients", std::move(names));
    return value;
  }
  Result<json::Value> submit(const http::Request& request) {
    CLOISTER_TRY(body, http::json_body(request));
    CLOISTER_TRY(job, model::parse_job_request(body));
    submitted.push_back(job);
    CLOISTER_TRY(made, world.jobs->submit(world.tenant, job, world.clock.now()));
    return view(made.job.id);
  }
  /// Two jobs a page, as a server may choose.
  Result<json::Value> page(const http::Request& request) {
    storage::jobs::Query query;
    query.tenant = world.tenant;
    query.limit = 2;
    if (const auto cursor = request.query.find("cursor")) query.before = std::stoull(std::string{*cursor});
    CLOISTER_TRY(found, world.jobs->list(query));
    json::Array list;
    for (const auto& job : found.jobs) list.push_back(model::to_json(job));
    json::Object out{{"jobs", std::move(list)}};
    if (found.next) out.emplace_back("next", std::to_string(*found.next));
    return json::Value{std::move(out)};
  }
  Result<json::Value> look(const http::Request& request) {
    const auto id = *JobId::parse(request.param("id"));
    if (away > 0) {
      --away;
      return Error{Errc::unavailable, "the server is starting or stopping"};
    }
    if (before_look) before_look(id);
    for (const auto& instance : at_work) work(*instance);
    return view(id);
  }
  Result<json::Value> rewrap(const http::Request& request) {
    CLOISTER_TRY(body, http::json_body(request));
    std::vector<model::Recipient> recipients;
    for (const auto& item : *body.find("recipients")->as_array()) {
      CLOISTER_TRY(recipient, model::parse_recipient(item));
      recipients.push_back(std::move(recipient));
    }
    CLOISTER_TRY(job, world.jobs->add_recipients(world.tenant, *JobId::parse(request.param("id")), recipients));
    return model::to_json(job);
  }
  Result<json::Value> receipt(const http::Request& request) {
    CLOISTER_TRY(job, world.jobs->get(world.tenant, *JobId::parse(request.param("id"))));
    World::ClientJob whose{protocol::ClientJobKeys::derive(world.client_secret, job.salt), {}};
    auto made = world.receipt_of(whose);
    made.opening.reset();  // the client's alone
    return receipt::to_json(made);
  }
  /// The instance executes what it is leased.
  void work(const World::Ready& instance) {
    const auto assigned = world.jobs->lease(instance.session, world.clock.now());
    ASSERT_TRUE(assigned) << assigned.error().text();
    if (!*assigned) return;
    auto result = world.execute(instance, **assigned, envelope_change);
    const auto accepted = world.jobs->accept(instance.session, result, world.clock.now());
    ASSERT_TRUE(accepted) << accepted.error().text();
  }
  void lose(const World::Ready& instance) {
    ASSERT_TRUE(world.jobs->end_instance(instance.session.instance(), model::InstanceState::lost, "gone",
                                         world.clock.now()));
  }
  const World::Ready& start_instance(bool works = true) {
    const auto& made = *started.emplace_back(std::make_unique<World::Ready>(world.ready()));
    if (works) at_work.push_back(&made);
    return made;
  }

  [[nodiscard]] client::Orchestrator connect() {
    auto made = client::Orchestrator::connect(server->base_url(), std::nullopt);
    CLOISTER_ASSERT(made.ok());
    return std::move(*made);
  }
  /// A process of its own, as far as the server can tell: its own connection, nothing in common but the secret.
  template <class Use>
  auto as_client(const crypto::Secret<32>& secret, Use use) {
    auto orchestrator = connect();
    SystemRandom random;
    client::JobRunner runner{orchestrator, trust, secret, world.clock, random};
    return use(runner);
  }
  Result<client::FinishedJob> run(const std::string& key = "job-1", const std::string& payload = "in",
                                  seconds deadline = seconds{600}) {
    const auto bytes = to_bytes(payload);
    return as_client(world.client_secret, [&](client::JobRunner& runner) {
      return runner.run({world.version.spec.challenge, world.version.id, key, bytes, deadline}, events);
    });
  }
  Result<client::FinishedJob> collect(const JobId& job, const crypto::Secret<32>& secret) {
    return as_client(secret, [&](client::JobRunner& runner) { return runner.collect(job, events); });
  }
  Result<client::FinishedJob> collect(const JobId& job) { return collect(job, world.client_secret); }
  [[nodiscard]] std::vector<model::Job> jobs() const { return world.jobs->list({})->jobs; }

  World world;
  policy::TrustFile trust = world.trust();
  client::JobEvents events;
  std::vector<std::unique_ptr<World::Ready>> started;
  std::vector<const World::Ready*> at_work;  // each executes what it is leased whenever the client looks
  std::vector<model::JobRequest> submitted;
  std::function<void(const JobId&)> before_look;
  int away = 0;  // looks that the server does not answer
  std::function<void(protocol::Envelope&)> envelope_change;
  std::map<std::string, std::function<void(json::Value&)>> lies;  // by route
  std::map<std::string, int> calls;
  log::NullLogger logger;
  runtime::IoContext io{1};
  std::unique_ptr<http::Server> server;
};

constexpr auto kInstances = "/api/v1/versions/{id}/instances";
constexpr auto kJob = "/api/v1/jobs/{id}";
constexpr auto kResult = "/api/v1/jobs/{id}/result";
constexpr auto kReceipt = "/api/v1/jobs/{id}/receipt";
constexpr auto kRecipients = "/api/v1/jobs/{id}/recipients";

TEST_F(ClientJob, ComesBackOpenedWithAReceiptThatHolds) {
  const auto& instance = start_instance();
  const auto done = run();
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(as_text(done->output.reveal()), "out");
  EXPECT_EQ(done->envelope.instance, instance.session.instance());
  ASSERT_EQ(submitted.size(), 1U);
  ASSERT_EQ(submitted[0].recipients.size(), 1U);
  EXPECT_EQ(submitted[0].recipients[0].instance, instance.session.instance());
  const auto held = receipt::check(done->receipt, trust, {to_bytes("out"), world.clock.now()});
  EXPECT_TRUE(held) << held.error().text();
}

TEST_F(ClientJob, TriedAgainIsTheSameJob) {
  start_instance();
  const auto first = run();
  const auto second = run();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->job, second->job);
  EXPECT_EQ(jobs().size(), 1U);
  ASSERT_EQ(submitted.size(), 2U);
  EXPECT_EQ(submitted[0].ciphertext, submitted[1].ciphertext);
  EXPECT_EQ(submitted[0].salt, submitted[1].salt);
}

TEST_F(ClientJob, WithAnotherKeyOrPayloadIsAnother) {
  start_instance();
  const auto first = run();
  const auto other_key = run("job-2");
  ASSERT_TRUE(first && other_key);
  EXPECT_NE(first->job, other_key->job);
  EXPECT_EQ(jobs().size(), 2U);
  // A used key is not silently another job's.
  EXPECT_EQ(code_of(run("job-1", "another payload")), Errc::idempotency_conflict);
  EXPECT_EQ(code_of(run("job-1", "in", seconds{601})), Errc::idempotency_conflict);
}

TEST_F(ClientJob, IsReadByAnotherProcessWithTheSameSecretAlone) {
  start_instance();
  const auto done = run();
  ASSERT_TRUE(done);
  const auto read = collect(done->job);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(as_text(read->output.reveal()), "out");
  EXPECT_EQ(read->receipt.opening, done->receipt.opening);
  const auto other = crypto::Secret<32>::random(world.random);
  EXPECT_EQ(code_of(collect(done->job, other)), Errc::key_invalid);
}

TEST_F(ClientJob, OfAClientThatDiedIsFinishedAndReadByAnother) {
  start_instance();
  // Submitted, and its client is gone.
  const auto job = world.seal({at_work.front()});
  ASSERT_TRUE(world.jobs->submit(world.tenant, job.request, world.clock.now()));
  const auto read = collect(job.keys.job());
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(as_text(read->output.reveal()), "out");
}

TEST_F(ClientJob, OfAClientThatDiedIsWrappedForOthersByAnother) {
  const auto job = world.seal({});  // submitted before any instance was there
  ASSERT_TRUE(world.jobs->submit(world.tenant, job.request, world.clock.now()));
  const auto& instance = start_instance();
  const auto read = collect(job.keys.job());
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(as_text(read->output.reveal()), "out");
  EXPECT_EQ(read->envelope.instance, instance.session.instance());
  EXPECT_EQ(calls[kRecipients], 1);
}

TEST_F(ClientJob, IsNotWrappedByAClientWithAnotherSecret) {
  const auto job = world.seal({});
  ASSERT_TRUE(world.jobs->submit(world.tenant, job.request, world.clock.now()));
  start_instance();
  EXPECT_EQ(code_of(collect(job.keys.job(), crypto::Secret<32>::random(world.random))), Errc::key_invalid);
  EXPECT_EQ(calls[kRecipients], 0);
}

TEST_F(ClientJob, OutlivesAServerThatIsAwayForAWhile) {
  start_instance();
  int refused = 0;
  events.interrupted = [&](const Error& why) {
    EXPECT_EQ(why.code(), Errc::unavailable);
    ++refused;
  };
  away = 1;
  const auto done = run();
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(refused, 1);
}

TEST_F(ClientJob, IsWrappedForTheFirstInstanceThatBecomesReady) {
  before_look = [this](const JobId&) {
    if (started.empty()) start_instance();
  };
  const auto done = run();
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_TRUE(submitted[0].recipients.empty());
  EXPECT_EQ(done->envelope.instance, started[0]->session.instance());
  EXPECT_EQ(calls[kRecipients], 1);
}

TEST_F(ClientJob, IsWrappedAgainWhenItsInstanceGoesAway) {
  const auto& first = start_instance(false);
  before_look = [&, this](const JobId&) {
    if (started.size() > 1) return;
    lose(first);
    start_instance();
  };
  const auto done = run();
  ASSERT_TRUE(done) << done.error().text();
  ASSERT_EQ(submitted[0].recipients.size(), 1U);
  EXPECT_EQ(submitted[0].recipients[0].instance, first.session.instance());
  EXPECT_EQ(done->envelope.instance, started[1]->session.instance());
}

TEST_F(ClientJob, ThatEndsWhileItIsWrappedAgainEnds) {
  before_look = [this](const JobId& id) {
    if (started.empty()) {
      start_instance(false);
    } else {
      EXPECT_EQ(world.jobs->get(world.tenant, id)->state, model::JobState::cancelled);
    }
  };
  // Cancelled between the look that names the instance and the recipients that the client adds.
  bool cancelled = false;
  lies[kInstances] = [&, this](json::Value&) {
    if (started.empty()) return;
    ASSERT_EQ(jobs().size(), 1U);
    ASSERT_TRUE(world.jobs->cancel(world.tenant, jobs()[0].id, "tester", world.clock.now()));
    cancelled = true;
  };
  EXPECT_EQ(code_of(run()), Errc::cancelled);
  EXPECT_TRUE(cancelled);
  EXPECT_EQ(calls[kRecipients], 1);
}

TEST_F(ClientJob, IsSealedToNobodyWhomTheClientRefuses) {
  const auto& instance = start_instance();
  trust.reference_values[0].image_digest[0] ^= 1;
  std::vector<Errc> why;
  events.refused = [&](const InstanceId& id, const Error& error) {
    EXPECT_EQ(id, instance.session.instance());
    why.push_back(error.code());
  };
  before_look = [this](const JobId& id) {
    EXPECT_TRUE(world.jobs->cancel(world.tenant, id, "tester", world.clock.now()));
  };
  EXPECT_EQ(code_of(run()), Errc::cancelled);
  EXPECT_TRUE(submitted[0].recipients.empty());
  EXPECT_EQ(calls[kRecipients], 0);
  ASSERT_FALSE(why.empty());
  EXPECT_EQ(why[0], Errc::measurement_mismatch);
}

TEST_F(ClientJob, IsSealedToTheInstancesThatHold) {
  const auto& good = start_instance();
  const auto& bad = start_instance(false);
  // The server swaps the evidence of the second for that of the first.
  lies[kInstances] = [&](json::Value& value) {
    auto& list = *value.as_object()->front().second.as_array();
    ASSERT_EQ(list.size(), 2U);
    auto& odd = *list[0].find("id")->as_string() == bad.session.instance().str() ? list[0] : list[1];
    auto& other = &odd == &list[0] ? list[1] : list[0];
    odd.set("evidence", *other.find("evidence"));
  };
  const auto done = run();
  ASSERT_TRUE(done) << done.error().text();
  ASSERT_EQ(submitted[0].recipients.size(), 1U);
  EXPECT_EQ(submitted[0].recipients[0].instance, good.session.instance());
}

// --- results that are not what they should be ---

TEST_F(ClientJob, RefusesAnOutputThatWasNotCommittedTo) {
  start_instance();
  envelope_change = [](protocol::Envelope& envelope) { envelope.output_commitment[0] ^= 1; };
  EXPECT_EQ(code_of(run()), Errc::output_commitment_mismatch);
}

TEST_F(ClientJob, RefusesAnEnvelopeThatTheInstanceDidNotSign) {
  start_instance();
  ASSERT_TRUE(run());
  const auto other = codec::to_hex(crypto::Ed25519Key::generate(world.random).sign(to_bytes("other")));
  lies[kReceipt] = [&](json::Value& value) {
    auto result = *value.find("result");
    result.set("signature", other);
    value.set("result", std::move(result));
  };
  EXPECT_EQ(code_of(run()), Errc::signature_invalid);
}

TEST_F(ClientJob, RefusesASealedOutputThatWasSwapped) {
  start_instance();
  ASSERT_TRUE(run());
  lies[kResult] = [](json::Value& value) { value.set("sealed_output", codec::to_base64(to_bytes("another output"))); };
  EXPECT_EQ(code_of(run()), Errc::output_commitment_mismatch);
  lies[kResult] = [](json::Value& value) { value.set("enc", codec::to_hex(ByteArray<32>{1})); };
  EXPECT_EQ(code_of(run()), Errc::output_commitment_mismatch);
}

TEST_F(ClientJob, RefusesTheResultOrReceiptOfAnotherJob) {
  start_instance();
  const auto other = run("job-2", "other");
  ASSERT_TRUE(other);
  const auto stored = world.jobs->result(world.tenant, other->job);
  ASSERT_TRUE(stored);
  auto foreign = other->receipt;
  foreign.opening.reset();
  lies[kResult] = [&](json::Value& value) { value = model::to_json(*stored); };
  EXPECT_EQ(code_of(run()), Errc::receipt_invalid);
  lies[kReceipt] = [&](json::Value& value) { value = receipt::to_json(foreign); };
  EXPECT_EQ(code_of(run()), Errc::receipt_invalid);  // both agree: its opening is not this job's
  lies.erase(kResult);
  EXPECT_EQ(code_of(run()), Errc::receipt_invalid);
}

TEST_F(ClientJob, RefusesAReceiptThatItsTrustFileDoesNotBear) {
  start_instance();
  ASSERT_TRUE(run());
  trust.audit_keys = {crypto::Ed25519Key::generate(world.random).public_key()};
  EXPECT_EQ(code_of(run()), Errc::audit_key_not_trusted);
}

// --- a server that lies about the state ---

TEST_F(ClientJob, ThatIsSaidToBeDoneNeedsItsResult) {
  start_instance(false);
  lies[kJob] = [](json::Value& value) { value.set("state", "succeeded"); };
  EXPECT_EQ(code_of(run()), Errc::not_found);
}

TEST_F(ClientJob, WithAStateThatNobodyKnowsIsRefused) {
  start_instance(false);
  lies[kJob] = [](json::Value& value) { value.set("state", "fine"); };
  EXPECT_FALSE(run());
}

TEST_F(ClientJob, AnsweredAsAnotherIsRefused) {
  start_instance();
  const auto other = run("job-2", "other");
  ASSERT_TRUE(other);
  lies[kJob] = [&](json::Value& value) { value = *view(other->job); };
  EXPECT_EQ(code_of(run()), Errc::malformed);
  EXPECT_EQ(code_of(collect(jobs().front().id)), Errc::malformed);
}

TEST_F(ClientJob, WithAnotherSaltIsNotThisClients) {
  start_instance();
  const auto done = run();
  ASSERT_TRUE(done);
  lies[kJob] = [](json::Value& value) { value.set("salt", codec::to_hex(Digest32{1})); };
  EXPECT_EQ(code_of(collect(done->job)), Errc::key_invalid);
}

TEST_F(ClientJob, ThatFailedSaysWhy) {
  start_instance(false);
  lies[kJob] = [](json::Value& value) { value.set("state", "failed").set("failure", "input_commitment_mismatch"); };
  EXPECT_EQ(code_of(run()), Errc::input_commitment_mismatch);
  lies[kJob] = [](json::Value& value) { value.set("state", "failed").set("failure", "attempts_exhausted"); };
  const auto exhausted = run();
  ASSERT_EQ(code_of(exhausted), Errc::challenge_failed);
  EXPECT_NE(exhausted.error().detail().find("attempts_exhausted"), std::string::npos);
  lies[kJob] = [](json::Value& value) { value.set("state", "expired"); };
  EXPECT_EQ(code_of(run()), Errc::deadline_exceeded);
}

// --- versions ---

TEST_F(ClientJob, NeedsAVersionThatFollowsFromItsSpecification) {
  auto orchestrator = connect();
  auto spec = world.version.spec;
  spec.instances = 0;
  auto& demand = spec.server_evidence.emplace();
  demand.references = {{Digest48{1}, {}, Digest32{2}}};
  demand.not_before = world.clock.now();
  const auto registered = orchestrator.register_version(spec);
  ASSERT_TRUE(registered) << registered.error().text();
  EXPECT_EQ(registered->spec, spec);

  // A server that would rather not be asked for its evidence. Each lie is one that nothing but its check would find.
  const auto told = [&](const std::function<void(model::Version&)>& change) {
    lies["/api/v1/challenges"] = [change](json::Value& value) {
      auto version = *model::parse_version(value);
      change(version);
      value = model::to_json(version);
    };
    return code_of(orchestrator.register_version(spec));
  };
  const auto configured = [&](const std::function<void(protocol::Configuration&)>& change) {
    return told([change](model::Version& version) {
      auto configuration = *protocol::decode_configuration(version.configuration);
      change(configuration);
      version.configuration = protocol::encode(configuration);
      version.reference.configuration_digest = protocol::configuration_digest(version.configuration);
    });
  };
  EXPECT_EQ(told([](model::Version& v) { v.spec.server_evidence.reset(); }), Errc::measurement_mismatch);
  EXPECT_EQ(told([](model::Version& v) {
              v.id = *VersionId::parse("ver-other");
              auto configuration = *protocol::decode_configuration(v.configuration);
              configuration.version = v.id;
              v.configuration = protocol::encode(configuration);
              v.reference.configuration_digest = protocol::configuration_digest(v.configuration);
            }),
            Errc::measurement_mismatch);
  EXPECT_EQ(configured([](protocol::Configuration& c) { c.demand.reset(); }), Errc::measurement_mismatch);
  EXPECT_EQ(configured([](protocol::Configuration& c) { c.demand->references[0].mrtd[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(configured([](protocol::Configuration& c) { c.version = *VersionId::parse("ver-other"); }), Errc::measurement_mismatch);
  EXPECT_EQ(configured([](protocol::Configuration& c) { (*c.image_digest)[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(told([](model::Version& v) { v.configuration.clear(); }), Errc::truncated);
  EXPECT_EQ(told([](model::Version& v) { v.reference.configuration_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(told([](model::Version& v) { v.reference.image_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(told([](model::Version&) {}), Errc::internal) << "and nothing is wrong with what is true";
}

// --- lists ---

TEST_F(ClientJob, ListsHaveAllPages) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(world.jobs->submit(world.tenant, world.seal({}, "job-" + std::to_string(i)).request, world.clock.now()));
  }
  auto orchestrator = connect();
  const auto all = orchestrator.list("jobs");
  ASSERT_TRUE(all) << all.error().text();
  ASSERT_EQ(all->find("jobs")->as_array()->size(), 5U);
  EXPECT_EQ(all->find("next"), nullptr);
  EXPECT_EQ(calls["/api/v1/jobs"], 3);
  std::vector<std::string> ids;
  for (const auto& job : *all->find("jobs")->as_array()) ids.push_back(*job.find("id")->as_string());
  std::vector<std::string> expected;
  for (const auto& job : jobs()) expected.push_back(job.id.str());
  EXPECT_EQ(ids, expected);
}

TEST_F(ClientJob, PagesWithoutEndOrSenseAreRefused) {
  auto orchestrator = connect();
  lies["/api/v1/jobs"] = [](json::Value& value) { value.set("next", "7"); };  // and no entries
  EXPECT_EQ(code_of(orchestrator.list("jobs")), Errc::malformed);
  lies["/api/v1/jobs"] = [](json::Value& value) { value.set("next", "7 &x=y"); };
  EXPECT_EQ(code_of(orchestrator.list("jobs")), Errc::malformed);
  lies["/api/v1/jobs"] = [](json::Value& value) { value.set("next", 7); };
  EXPECT_EQ(code_of(orchestrator.list("jobs")), Errc::malformed);
}

}  // namespace
}  // namespace cloister::test
