#include "world.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/td_image.hpp"
#include "cloister/oci/layout.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/storage/evidence.hpp"
#include "cloister/storage/fleet.hpp"

namespace cloister::test {
namespace {

/// The value, or the end of the test program: a fixture that does not stand proves nothing.
template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "fixture: %s\n", result.error().text().c_str());
    std::abort();
  }
  return *std::move(result);
}

void must(const Result<void>& result) {
  if (!result) {
    std::fprintf(stderr, "fixture: %s\n", result.error().text().c_str());
    std::abort();
  }
}

template <class F>
void change(storage::Database& database, F apply) {
  auto transaction = must(database.write());
  must(apply(transaction));
  must(transaction.commit());
}

measure::TdFile guest_file(ByteView program) { return {"cloister-guest", 0755, program}; }

}  // namespace

scheduler::JobService::Options World::tried_twice() {
  scheduler::JobService::Options options;
  options.max_attempts = 2;
  return options;
}

World::World(scheduler::JobService::Options job_options)
    : platform{lab::Platform::create(crypto::Secret<32>{ByteArray<32>{7}}, clock.now() - std::chrono::hours{24})},
      collateral{platform.collateral(clock.now() - std::chrono::hours{1})},
      server_key{crypto::X25519Key::generate(random)},
      client_secret{crypto::Secret<32>::random(random)},
      validator{ValidatorId::make(random)} {
  kms = must(kms::SoftwareKms::open(dir.path() / "master.key", random));
  database = must(storage::Database::open(dir.path() / "cloister.db"));
  sealer = std::make_unique<storage::Sealer>(*kms, random);
  blobs = must(storage::BlobStore::open(dir.path() / "blobs", storage::BlobStore::Limits{}));
  log = must(audit::Log::open(*database, *kms, random, {dir.path() / "audit-head.cbor", false}, clock.now()));
  const auto guest = guest_file(guest_program);
  registry = std::make_unique<challenge::Registry>(
      *database, *blobs, *log,
      challenge::Platform{must(measure::mrtd_of_td_image({&guest, 1})), {server_key.public_key()}, true});
  sessions = std::make_unique<session::AttestedSessions>(*database, *sealer, *log, random, std::chrono::hours{1});
  broker = std::make_unique<keybroker::Broker>(*database, *sealer, *kms, *log, random);
  jobs = std::make_unique<scheduler::JobService>(*database, *log, random, clock, job_options);
  anchors = must(trust().anchors());

  oci::ImageOptions options_of_image;
  options_of_image.entrypoint = {"/run"};
  auto image = must(oci::build_image({{"run", true, to_bytes("the workload")}}, options_of_image));
  for (const auto& [digest, bytes] : image.blobs) must(blobs->put(digest, bytes));
  must(broker->put(tenant, "example/salt", to_bytes("sesame"), "tester", clock.now()));
  model::ChallengeSpec spec;
  spec.challenge = *ChallengeId::parse("example");
  spec.image_digest = image.digest;
  spec.secrets = {{"salt", "example/salt"}};
  version = must(registry->add(tenant, spec, "tester", clock.now()));
  model::Validator host;
  host.id = validator;
  host.hotkey = ByteArray<32>{9};
  change(*database, [&](auto& t) { return storage::validators::enrol(t, host); });
}

policy::TrustFile World::trust() const {
  policy::TrustFile trust;
  trust.lab_roots = {must(crypto::x509::parse_certificate(platform.root()))};
  trust.audit_keys = {log->key()};
  trust.server_keys = {server_key.public_key()};
  if (!version.id.empty()) {
    trust.reference_values = {{version.spec.challenge.str(), version.id.str(), version.reference.mrtd,
                               version.reference.image_digest, version.reference.configuration_digest}};
  }
  return trust;
}

World::Td World::launch_validator(ByteView program) {
  return launch(program, std::nullopt, registry->validator_configuration());
}

World::Td World::launch(ByteView program, const std::optional<Digest32>& image, ByteView configuration) {
  const auto file = guest_file(program);
  Td td{must(platform.launch({}, {&file, 1})), crypto::X25519Key::generate(random),
        crypto::Ed25519Key::generate(random), {}, to_bytes(configuration)};
  const auto digest = protocol::configuration_digest(configuration);
  std::vector<evidence::GuestEvent> events;
  if (image) events.push_back({protocol::kLaunchRtmr, std::string{protocol::kImageEvent}, to_bytes(ByteView{*image})});
  events.push_back({protocol::kLaunchRtmr, std::string{protocol::kConfigurationEvent}, to_bytes(ByteView{digest})});
  for (const auto& event : events) {
    const auto status = td.machine.tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, event.rtmr,
                                                      evidence::guest_event_digest(event.name, event.payload));
    CLOISTER_ASSERT(status.ok());
  }
  td.event_log = evidence::encode_guest_event_log(events);
  return td;
}

InstanceId World::new_instance() {
  model::Instance instance;
  instance.id = InstanceId::make(random);
  instance.version = version.id;
  instance.validator = validator;
  instance.created = clock.now();
  change(*database, [&](auto& t) { return storage::instances::add(t, instance); });
  return instance.id;
}

World::Attestation World::attest(const Td& td, const InstanceId& instance,
                                 const std::function<void(protocol::Preimage&)>& change) {
  Attestation out;
  out.connection.server_key = server_key.public_key();
  out.connection.handshake_hash = crypto::sha256(instance.str().empty() ? ByteView{} : as_bytes(instance.str()));
  out.connection.nonce = must(sessions->issue_nonce(clock.now()));
  out.connection.instance = instance;
  out.connection.validator = validator;
  protocol::Preimage preimage;
  preimage.server_key_id = protocol::server_key_id(out.connection.server_key);
  preimage.nonce = out.connection.nonce;
  preimage.handshake_hash = out.connection.handshake_hash;
  preimage.instance = instance;
  preimage.keys = {{"payload", "x25519", to_bytes(ByteView{td.payload_key.public_key()})},
                   {"result", "ed25519", to_bytes(ByteView{td.result_key.public_key()})}};
  if (change) change(preimage);
  out.preimage = protocol::encode(preimage);
  const auto report = td.machine.tdg_mr_report(protocol::report_data(out.preimage));
  CLOISTER_ASSERT(report.has_value());
  out.evidence = must(platform.quote(*report));
  return out;
}

World::ValidatorTd World::validator_td() {
  protocol::Configuration configuration;
  configuration.role = protocol::Role::validator;
  configuration.server_keys = {server_key.public_key()};
  const auto encoded = protocol::encode(configuration);
  const auto td = launch(guest_program, std::nullopt, encoded);
  const auto answer = attest(td, new_instance(), [](protocol::Preimage& preimage) {
    preimage.role = protocol::Role::validator;
    preimage.instance.reset();
    preimage.hotkey = ByteArray<32>{9};
    preimage.keys.clear();
  });
  ValidatorTd out;
  out.shown.evidence = answer.evidence;
  out.shown.event_log = td.event_log;
  out.shown.configuration = encoded;
  out.shown.preimage = answer.preimage;
  out.shown.collateral = to_bytes(evidence::write_quote_collateral(collateral));
  out.reference = {version.spec.challenge.str(), version.id.str(), version.reference.mrtd, Digest32{},
                   protocol::configuration_digest(encoded)};
  return out;
}

Result<session::AttestedSession> World::appraise(const Td& td, const Attestation& answer) {
  CLOISTER_TRY(documents, evidence::parse_documents(collateral));
  const policy::ReferenceValue reference{version.spec.challenge.str(), version.id.str(), version.reference.mrtd,
                                         version.reference.image_digest, version.reference.configuration_digest};
  const policy::TdSubmission submission{answer.evidence, td.event_log, td.configuration, answer.preimage};
  CLOISTER_TRY(appraised,
               policy::appraise_td(submission, documents, anchors, policy::Policy{}, {&reference, 1}, clock.now()));
  model::InstanceEvidence shown;
  shown.evidence = answer.evidence;
  shown.event_log = td.event_log;
  shown.configuration = td.configuration;
  shown.preimage = answer.preimage;
  shown.collateral = to_bytes(evidence::write_quote_collateral(collateral));
  return sessions->open(appraised, answer.connection, std::move(shown), clock.now());
}

World::Ready World::ready() {
  auto td = launch();
  const auto instance = new_instance();
  auto session = must(appraise(td, attest(td, instance)));
  change(*database, [&](auto& t) { return storage::instances::set_state(t, instance, model::InstanceState::ready); });
  return {std::move(td), std::move(session)};
}

World::ClientJob World::seal(const std::vector<const Ready*>& recipients, const std::string& key) {
  std::vector<Recipient> out;
  for (const auto* ready : recipients) out.push_back({ready->session.instance(), ready->td.payload_key.public_key()});
  return seal_to(out, key);
}

World::ClientJob World::seal_to(const std::vector<Recipient>& recipients, const std::string& key) {
  const auto payload = to_bytes("in");
  const auto salt = protocol::ClientJobKeys::salt(client_secret, key, payload);
  auto keys = protocol::ClientJobKeys::derive(client_secret, salt);
  auto request = protocol::seal_job(keys, version.id, key, salt, payload, std::chrono::seconds{600});
  for (const auto& recipient : recipients) {
    request.recipients.push_back(must(protocol::seal_recipient(
        keys.content_key(), keys.job(), version.id, recipient.instance, recipient.payload_key,
        request.input_commitment, crypto::sha256(request.ciphertext), random)));
  }
  return {std::move(keys), std::move(request)};
}

protocol::SubmitResult World::execute(const Ready& instance, const protocol::AssignJob& job,
                                      const std::function<void(protocol::Envelope&)>& change) {
  return execute(instance.td, instance.session.instance(), instance.session.id(), job, change);
}

protocol::SubmitResult World::execute(const Td& td, const InstanceId& instance, const SessionId& session,
                                      const protocol::AssignJob& job,
                                      const std::function<void(protocol::Envelope&)>& change) {
  auto opened = must(protocol::open_job(td.payload_key, job.job, job.version, instance, job.input_commitment, job.ciphertext, job.enc, job.sealed_key));
  const auto output = to_bytes("out");
  protocol::Envelope envelope;
  envelope.job = job.job;
  envelope.attempt = job.attempt;
  envelope.fence = job.fence;
  envelope.version = job.version;
  envelope.instance = instance;
  envelope.session = session;
  envelope.image_digest = version.spec.image_digest;
  envelope.input_commitment = job.input_commitment;
  envelope.output_commitment = protocol::output_commitment(opened.commitment_key, job.job, job.version, "ok", output);
  envelope.status = "ok";
  envelope.started = clock.now();
  envelope.finished = clock.now();
  auto sealed = must(protocol::seal_output(opened.reply_key, envelope, output, random));
  envelope.sealed_output_digest = protocol::sealed_output_digest(sealed.enc, sealed.ciphertext);
  if (change) change(envelope);
  protocol::SubmitResult out;
  out.attempt = job.attempt;
  out.envelope = protocol::encode(envelope);
  out.signature = td.result_key.sign(out.envelope);
  out.enc = sealed.enc;
  out.sealed_output = std::move(sealed.ciphertext);
  return out;
}

World::ClientJob World::complete(const Ready& instance) {
  auto job = seal({&instance});
  must(jobs->submit(tenant, job.request, clock.now()));
  auto assigned = must(jobs->lease(instance.session, clock.now()));
  CLOISTER_ASSERT(assigned.has_value());
  must(jobs->accept(instance.session, execute(instance, *assigned), clock.now()));
  return job;
}

receipt::Receipt World::receipt_of(const ClientJob& job) {
  receipt::Receipt out;
  out.job = must(jobs->get(tenant, job.keys.job()));
  out.challenge = version.spec.challenge;
  auto result = must(jobs->result(tenant, job.keys.job()));
  out.envelope = result.envelope;
  out.signature = result.signature;
  const auto envelope = must(protocol::decode_envelope(result.envelope));
  out.evidence = must(storage::evidence::get(must(database->read()), envelope.session)).shown;
  out.head = must(log->advance(clock.now()));
  const auto prove = [&](std::string_view kind, std::string_view subject) {
    const auto index = must(log->find(kind, subject));
    return receipt::ProvenLeaf{must(log->leaf(index)), must(log->prove_inclusion(index, out.head.head.tree_size))};
  };
  out.appraisal = prove(session::kAppraisalAccepted, envelope.session.str());
  out.result = prove(scheduler::kResultAccepted, job.keys.job().str());
  out.opening = to_array<32>(job.keys.commitment_key().reveal());
  return out;
}

}  // namespace cloister::test
