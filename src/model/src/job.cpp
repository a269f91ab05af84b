#include "cloister/model/job.hpp"

#include <algorithm>
#include <array>

#include "json_util.hpp"

namespace cloister::model {
namespace {

using codec::json::Array;
using codec::json::Fields;
using codec::json::Object;
using codec::json::Value;

constexpr std::size_t kMaxRecipients = 64;
constexpr std::int64_t kMaxDeadlineSeconds = 7 * 24 * 3600;
constexpr std::size_t kSealedKeySize = 32 + 16;

constexpr std::array<std::string_view, 7> kStates = {"queued",    "awaiting_rewrap", "leased", "succeeded",
                                                     "failed",    "cancelled",       "expired"};

bool printable(std::string_view text) {
  return !text.empty() && text.size() <= 128 &&
         std::ranges::all_of(text, [](char c) { return c >= 0x20 && c <= 0x7E; });
}

}  // namespace

std::string_view to_string(JobState state) noexcept { return kStates[static_cast<std::size_t>(state)]; }

std::optional<JobState> job_state_from(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == text) return static_cast<JobState>(i);
  }
  return std::nullopt;
}

Result<Recipient> parse_recipient(const Value& value) {
  Fields fields{value, "recipient"};
  Recipient recipient;
  recipient.instance = detail::id<InstanceId>(fields, "instance");
  recipient.enc = fields.hex_array<32>("enc");
  recipient.sealed_key = fields.base64("sealed_key");
  if (!fields.failed() && recipient.sealed_key.size() != kSealedKeySize) {
    fields.fail(Errc::malformed, "sealed_key", "48 bytes expected, got " + std::to_string(recipient.sealed_key.size()));
  }
  CLOISTER_CHECK(fields.finish());
  return recipient;
}

Value to_json(const Recipient& recipient) {
  return Object{{"instance", recipient.instance.str()},
                {"enc", codec::to_hex(recipient.enc)},
                {"sealed_key", codec::to_base64(recipient.sealed_key)}};
}

Result<JobRequest> parse_job_request(const Value& value) {
  Fields fields{value, "job"};
  JobRequest request;
  request.job = detail::id<JobId>(fields, "job");
  request.version = detail::id<VersionId>(fields, "version");
  request.idempotency_key = fields.string("idempotency_key");
  if (!fields.failed() && !printable(request.idempotency_key)) {
    fields.fail(Errc::invalid_argument, "idempotency_key", "1 to 128 printable ASCII characters expected");
  }
  request.salt = fields.hex_array<32>("salt");
  request.input_commitment = fields.hex_array<32>("input_commitment");
  request.commitment_key_digest = fields.hex_array<32>("commitment_key_digest");
  request.ciphertext = fields.base64("ciphertext");
  request.deadline = std::chrono::seconds{
      fields.optional_integer("deadline_s", 1, kMaxDeadlineSeconds).value_or(request.deadline.count())};
  const auto& recipients = fields.optional_array("recipients");
  if (recipients.size() > kMaxRecipients) fields.fail(Errc::limit_exceeded, "recipients", "at most 64");
  CLOISTER_CHECK(fields.finish());
  for (const auto& item : recipients) {
    CLOISTER_TRY(recipient, parse_recipient(item));
    request.recipients.push_back(std::move(recipient));
  }
  return request;
}

Value to_json(const JobRequest& request) {
  Array recipients;
  for (const auto& recipient : request.recipients) recipients.push_back(to_json(recipient));
  return Object{{"job", request.job.str()},
                {"version", request.version.str()},
                {"idempotency_key", request.idempotency_key},
                {"salt", codec::to_hex(request.salt)},
                {"input_commitment", codec::to_hex(request.input_commitment)},
                {"commitment_key_digest", codec::to_hex(request.commitment_key_digest)},
                {"ciphertext", codec::to_base64(request.ciphertext)},
                {"deadline_s", std::int64_t{request.deadline.count()}},
                {"recipients", std::move(recipients)}};
}

Value to_json(const Job& job) {
  Object out{{"id", job.id.str()},
             {"tenant", job.tenant.str()},
             {"version", job.version.str()},
             {"idempotency_key", job.idempotency_key},
             {"request_hash", codec::to_hex(job.request_hash)},
             {"salt", codec::to_hex(job.salt)},
             {"input_commitment", codec::to_hex(job.input_commitment)},
             {"commitment_key_digest", codec::to_hex(job.commitment_key_digest)},
             {"ciphertext_digest", codec::to_hex(job.ciphertext_digest)},
             {"state", to_string(job.state)},
             {"attempts", job.attempts},
             {"progress", std::int64_t{job.progress}},
             {"submitted", to_rfc3339(job.submitted)},
             {"deadline", to_rfc3339(job.deadline)}};
  if (job.finished) out.emplace_back("finished", to_rfc3339(*job.finished));
  if (job.failure) out.emplace_back("failure", *job.failure);
  return out;
}

Result<Job> parse_job(const Value& value) {
  Fields fields{value, "job"};
  Job job;
  job.id = detail::id<JobId>(fields, "id");
  job.tenant = detail::id<TenantId>(fields, "tenant");
  job.version = detail::id<VersionId>(fields, "version");
  job.idempotency_key = fields.string("idempotency_key");
  job.request_hash = fields.hex_array<32>("request_hash");
  job.salt = fields.hex_array<32>("salt");
  job.input_commitment = fields.hex_array<32>("input_commitment");
  job.commitment_key_digest = fields.hex_array<32>("commitment_key_digest");
  job.ciphertext_digest = fields.hex_array<32>("ciphertext_digest");
  job.state = detail::enumerator(fields, "state", job_state_from);
  job.attempts = static_cast<std::uint64_t>(fields.integer("attempts", 0));
  job.progress = static_cast<std::uint8_t>(fields.integer("progress", 0, 100));
  job.submitted = detail::time(fields, "submitted");
  job.deadline = detail::time(fields, "deadline");
  job.finished = detail::optional_time(fields, "finished");
  job.failure = fields.optional_string("failure");
  CLOISTER_CHECK(fields.finish());
  return job;
}

Value to_json(const JobResult& result) {
  return Object{{"job", result.job.str()},
                {"attempt", result.attempt.str()},
                {"envelope", codec::to_base64(result.envelope)},
                {"signature", codec::to_hex(result.signature)},
                {"enc", codec::to_hex(result.enc)},
                {"sealed_output", codec::to_base64(result.sealed_output)},
                {"accepted", to_rfc3339(result.accepted)}};
}

Result<JobResult> parse_job_result(const Value& value) {
  Fields fields{value, "result"};
  JobResult result;
  result.job = detail::id<JobId>(fields, "job");
  result.attempt = detail::id<AttemptId>(fields, "attempt");
  result.envelope = fields.base64("envelope");
  result.signature = fields.hex_array<64>("signature");
  result.enc = fields.hex_array<32>("enc");
  result.sealed_output = fields.base64("sealed_output");
  result.accepted = detail::time(fields, "accepted");
  CLOISTER_CHECK(fields.finish());
  return result;
}

}  // namespace cloister::model
