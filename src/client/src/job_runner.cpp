#include "cloister/client/job_runner.hpp"

#include <thread>

#include "cloister/crypto/hash.hpp"
#include "cloister/policy/td.hpp"

namespace cloister::client {
namespace {

constexpr std::chrono::seconds kWait{30};
constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kOutage{60};

/// That the server may answer again by itself.
bool is_outage(Errc code) {
  return code == Errc::unavailable || code == Errc::peer_closed || code == Errc::overloaded || code == Errc::rate_limited;
}

Error failure_of(const model::Job& job) {
  const auto why = job.failure.value_or(std::string{model::to_string(job.state)});
  switch (job.state) {
    case model::JobState::expired: return Error{Errc::deadline_exceeded, "the job expired before it was executed"};
    case model::JobState::cancelled: return Error{Errc::cancelled, "the job was cancelled"};
    default: return Error{errc_from_string(why).value_or(Errc::challenge_failed), why};
  }
}

}  // namespace

Result<VerifiedInstance> verify_instance(const model::Instance& instance, const policy::TrustFile& trust,
                                         const ChallengeId& challenge, const VersionId& version, UnixTime now) {
  if (!instance.evidence) return Error{Errc::evidence_malformed, "the server gave no evidence of this instance"};
  const auto& shown = *instance.evidence;
  const policy::TdSubmission submission{shown.evidence, shown.event_log, shown.configuration, shown.preimage};
  CLOISTER_TRY(td, policy::appraise_instance(submission, shown.collateral, trust, challenge.str(), version.str(), now));
  const auto& preimage = td.preimage();
  if (preimage.instance != instance.id) return Error{Errc::binding_mismatch, "the evidence is of another instance"};
  VerifiedInstance out;
  out.id = instance.id;
  out.payload_key = *preimage.key(protocol::kPayloadUse, "x25519");
  out.result_key = *preimage.key(protocol::kResultUse, "ed25519");
  out.mrtd = td.reference().mrtd;
  out.tcb = td.appraised().tcb().status;
  out.lab = td.appraised().lab();
  return out;
}

Result<std::vector<model::Recipient>> JobRunner::seal_to_ready(const Sealing& sealing, const JobEvents& events) {
  CLOISTER_TRY(instances, orchestrator_.ready_instances(sealing.version));
  std::vector<model::Recipient> recipients;
  for (const auto& instance : instances) {
    auto verified = verify_instance(instance, trust_, sealing.challenge, sealing.version, clock_.now());
    if (!verified) {
      events.refused(instance.id, verified.error());
      continue;
    }
    CLOISTER_TRY(recipient, protocol::seal_recipient(sealing.keys.content_key(), sealing.keys.job(), sealing.version,
                                                     instance.id, verified->payload_key, sealing.input_commitment,
                                                     sealing.ciphertext_digest, random_));
    recipients.push_back(std::move(recipient));
    events.accepted(*verified);
  }
  return recipients;
}

Result<Orchestrator::JobView> JobRunner::look(const JobId& job, const JobEvents& events) {
  const auto patience = Deadline::after(clock_, kOutage);
  for (;;) {
    auto view = orchestrator_.job(job, kWait);
    if (view || !is_outage(view.error().code()) || clock_.steady() >= patience.at()) return view;
    events.interrupted(view.error());
    std::this_thread::sleep_for(kPause);
  }
}

Result<FinishedJob> JobRunner::run(const JobOrder& order, const JobEvents& events) {
  const auto salt = protocol::ClientJobKeys::salt(secret_, order.idempotency_key, order.payload);
  const auto keys = protocol::ClientJobKeys::derive(secret_, salt);
  auto request = protocol::seal_job(keys, order.version, order.idempotency_key, salt, order.payload, order.deadline);
  const Sealing sealing{keys, order.challenge, order.version, request.input_commitment,
                        crypto::sha256(request.ciphertext)};
  CLOISTER_TRY(recipients, seal_to_ready(sealing, events));
  request.recipients = std::move(recipients);
  CLOISTER_TRY(view, orchestrator_.submit(request));
  return follow(sealing, std::move(view), events);
}

Result<FinishedJob> JobRunner::collect(const JobId& job, const JobEvents& events) {
  CLOISTER_TRY(view, orchestrator_.job(job, std::chrono::seconds{0}));
  const auto keys = protocol::ClientJobKeys::derive(secret_, view.job.salt);
  if (keys.job() != job) return Error{Errc::key_invalid, "the job was not submitted with this client secret"};
  CLOISTER_TRY(version, orchestrator_.version(view.job.version));
  const Sealing sealing{keys, version.spec.challenge, view.job.version, view.job.input_commitment,
                        view.job.ciphertext_digest};
  return follow(sealing, std::move(view), events);
}

Result<FinishedJob> JobRunner::follow(const Sealing& sealing, Orchestrator::JobView view, const JobEvents& events) {
  while (!model::is_final(view.job.state)) {
    events.progressed(view.job);
    if (!view.missing_recipients.empty()) {
      CLOISTER_TRY(more, seal_to_ready(sealing, events));
      if (more.empty()) {
        // The server answers at once while somebody is there that this client does not accept.
        std::this_thread::sleep_for(kPause);
      } else {
        // A job that has ended meanwhile needs no recipients: the next look says how it ended.
        auto added = orchestrator_.add_recipients(sealing.keys.job(), more);
        if (!added && added.error().code() != Errc::conflict) return std::move(added).error();
      }
    }
    CLOISTER_TRY(next, look(sealing.keys.job(), events));
    view = std::move(next);
  }
  return open(sealing.keys, view.job, events);
}

Result<FinishedJob> JobRunner::open(const protocol::ClientJobKeys& keys, const model::Job& job,
                                    const JobEvents& events) {
  events.progressed(job);
  if (job.state != model::JobState::succeeded && !(job.state == model::JobState::failed && job.failure == "challenge_error")) {
    return failure_of(job);
  }
  CLOISTER_TRY(result, orchestrator_.result(job.id));
  CLOISTER_TRY(envelope, protocol::decode_envelope(result.envelope));
  CLOISTER_TRY(receipt, orchestrator_.receipt(job.id));
  receipt.opening = to_array<32>(keys.commitment_key().reveal());
  // The whole chain, as anybody with this trust file will check it: from the evidence to this envelope.
  CLOISTER_TRY(verified, receipt::check(receipt, trust_, {std::nullopt, clock_.now()}));
  if (receipt.envelope != result.envelope || verified.envelope != envelope) {
    return Error{Errc::receipt_invalid, "the receipt is of another result"};
  }
  CLOISTER_TRY(output, protocol::open_output(keys, envelope, result));
  return FinishedJob{job.id, std::move(envelope), std::move(output), std::move(receipt)};
}

}  // namespace cloister::client
