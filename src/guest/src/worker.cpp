#include "worker.hpp"

#include <algorithm>

#include "cloister/protocol/job.hpp"

namespace cloister::guest {

std::optional<protocol::AttemptFailed> Worker::assign(const protocol::AssignJob& job) {
  const auto failed = [&](Errc code) {
    return protocol::AttemptFailed{job.attempt, job.fence, std::string{to_string(code)}};
  };
  const auto& name = job.attempt.str();
  if (job.version != identity_.version) return failed(Errc::invalid_argument);
  if (running_.contains(name) || given_.contains(name) || results_.contains(job.attempt)) return failed(Errc::conflict);
  if (running_.size() == slots_) return failed(Errc::overloaded);
  auto opened = protocol::open_job(identity_.payload_key, job.job, job.version, identity_.instance,
                                   job.input_commitment, job.ciphertext, job.enc, job.sealed_key);
  if (!opened) return failed(opened.error().code());
  auto kept = job;
  kept.ciphertext.clear();
  kept.ciphertext.shrink_to_fit();
  running_.emplace(name, Running{std::move(kept), opened->reply_key, std::move(opened->commitment_key),
                                 identity_.session, clock_.now()});
  waiting_.push_back({name, crypto::cleansed_copy(opened->payload.reveal())});
  return std::nullopt;
}

std::optional<protocol::challenge::Job> Worker::give() {
  if (waiting_.empty() || given_.size() == slots_) return std::nullopt;
  auto job = std::move(waiting_.front());
  waiting_.pop_front();
  auto& running = running_.at(job.job);
  running.started = clock_.now();
  given_.emplace(job.job, clock_.steady() + std::chrono::milliseconds{running.job.timeout_ms});
  return job;
}

Result<std::optional<protocol::SubmitResult>> Worker::finish(const protocol::challenge::Result& result) {
  if (given_.erase(result.job) == 0) return Error{Errc::challenge_failed, "a result for a job that it does not have"};
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
  envelope.session = running.session;
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

void Worker::cancel(const AttemptId& attempt) {
  running_.erase(attempt.str());
  std::erase_if(waiting_, [&](const auto& job) { return job.job == attempt.str(); });
}

void Worker::settled(const AttemptId& attempt) { results_.erase(attempt); }

std::vector<protocol::Heartbeat> Worker::heartbeats() const {
  std::vector<protocol::Heartbeat> out;
  for (const auto& [name, running] : running_) {
    out.push_back({running.job.attempt, running.job.fence, running.percent});
  }
  return out;
}

bool Worker::overdue() const {
  const auto now = clock_.steady();
  return std::ranges::any_of(given_, [now](const auto& given) { return given.second <= now; });
}

std::vector<protocol::AttemptFailed> Worker::fail_all() {
  const auto now = clock_.steady();
  std::vector<protocol::AttemptFailed> out;
  for (const auto& [name, running] : running_) {
    const auto given = given_.find(name);
    const bool late = given != given_.end() && given->second <= now;
    const auto code = late ? Errc::job_timeout : Errc::challenge_failed;
    out.push_back({running.job.attempt, running.job.fence, std::string{to_string(code)}});
  }
  running_.clear();
  waiting_.clear();
  return out;
}

std::vector<protocol::SubmitResult> Worker::unsettled() const {
  std::vector<protocol::SubmitResult> out;
  for (const auto& [attempt, result] : results_) out.push_back(result);
  return out;
}

}  // namespace cloister::guest
