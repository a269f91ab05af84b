#include "worker.hpp"

#include "cloister/protocol/job.hpp"

namespace cloister::guest {

std::variant<protocol::challenge::Job, protocol::AttemptFailed> Worker::assign(const protocol::AssignJob& job) {
  const auto failed = [&](Errc code) {
    return protocol::AttemptFailed{job.attempt, job.fence, std::string{to_string(code)}};
  };
  if (job.version != identity_.version) return failed(Errc::invalid_argument);
  if (running_.contains(job.attempt.str()) || results_.contains(job.attempt)) return failed(Errc::conflict);
  auto opened = protocol::open_job(identity_.payload_key, job.job, job.version, identity_.instance,
                                   job.input_commitment, job.ciphertext, job.enc, job.sealed_key);
  if (!opened) return failed(opened.error().code());
  protocol::challenge::Job out{job.attempt.str(), to_bytes(opened->payload.reveal())};
  auto kept = job;
  kept.ciphertext.clear();
  kept.ciphertext.shrink_to_fit();
  const auto until = clock_.steady() + std::chrono::milliseconds{job.timeout_ms};
  running_.emplace(job.attempt.str(), Running{std::move(kept), opened->reply_key, std::move(opened->commitment_key),
                                              clock_.now(), until});
  return out;
}

Result<std::optional<protocol::SubmitResult>> Worker::finish(const protocol::challenge::Result& result) {
  const auto found = running_.find(result.job);
  if (found == running_.end()) return std::optional<protocol::SubmitResult>{};
  const auto running = std::move(found->second);
  running_.erase(found);

  protocol::Envelope envelope;
  envelope.job = running.job.job;
  envelope.attempt = running.job.attempt;
  envelope.fence = running.job.fence;
  envelope.version = identity_.version;
  envelope.instance = identity_.instance;
  envelope.session = identity_.session;
  envelope.image_digest = identity_.image_digest;
  envelope.input_commitment = running.job.input_commitment;
  envelope.output_commitment = protocol::output_commitment(running.commitment_key, envelope.job, envelope.version,
                                                           result.status, result.output);
  envelope.status = result.status;
  envelope.started = running.started;
  envelope.finished = std::max(clock_.now(), running.started);
  CLOISTER_TRY(sealed, protocol::seal_output(running.reply_key, envelope, result.output, random_));
  envelope.sealed_output_digest = protocol::sealed_output_digest(sealed.enc, sealed.ciphertext);

  protocol::SubmitResult out;
  out.attempt = envelope.attempt;
  out.envelope = protocol::encode(envelope);
  out.signature = identity_.result_key.sign(out.envelope);
  out.enc = sealed.enc;
  out.sealed_output = std::move(sealed.ciphertext);
  results_.insert_or_assign(out.attempt, out);
  return std::optional{std::move(out)};
}

void Worker::progress(const protocol::challenge::Progress& progress) {
  const auto found = running_.find(progress.job);
  if (found != running_.end()) found->second.percent = progress.percent;
}

void Worker::cancel(const AttemptId& attempt) { running_.erase(attempt.str()); }

void Worker::settled(const AttemptId& attempt) { results_.erase(attempt); }

std::vector<protocol::Heartbeat> Worker::heartbeats() const {
  std::vector<protocol::Heartbeat> out;
  for (const auto& [name, running] : running_) {
    out.push_back({running.job.attempt, running.job.fence, running.percent});
  }
  return out;
}

std::vector<protocol::AttemptFailed> Worker::take_overdue() {
  std::vector<protocol::AttemptFailed> out;
  const auto now = clock_.steady();
  for (auto it = running_.begin(); it != running_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    out.push_back({it->second.job.attempt, it->second.job.fence, std::string{to_string(Errc::job_timeout)}});
    it = running_.erase(it);
  }
  return out;
}

std::vector<protocol::AttemptFailed> Worker::fail_all(const std::string& code) {
  std::vector<protocol::AttemptFailed> out;
  for (const auto& [name, running] : running_) out.push_back({running.job.attempt, running.job.fence, code});
  running_.clear();
  return out;
}

std::vector<protocol::SubmitResult> Worker::unsettled() const {
  std::vector<protocol::SubmitResult> out;
  for (const auto& [attempt, result] : results_) out.push_back(result);
  return out;
}

}  // namespace cloister::guest
