#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister::model {

enum class JobState { queued, awaiting_rewrap, leased, succeeded, failed, cancelled, expired };
[[nodiscard]] std::string_view to_string(JobState state) noexcept;
[[nodiscard]] std::optional<JobState> job_state_from(std::string_view text) noexcept;
/// No further transition.
[[nodiscard]] constexpr bool is_final(JobState state) noexcept {
  return state == JobState::succeeded || state == JobState::failed || state == JobState::cancelled ||
         state == JobState::expired;
}

/// The content key, sealed to one instance's payload key.
struct Recipient {
  InstanceId instance;
  ByteArray<32> enc{};  // HPKE encapsulated key
  Bytes sealed_key;     // HPKE ciphertext of the 32-byte content key, with tag
  friend bool operator==(const Recipient&, const Recipient&) = default;
};

/// What a client submits. Ids, keys and commitments are the client's own derivations (protocol/job.hpp).
struct JobRequest {
  JobId job;
  VersionId version;
  std::string idempotency_key;           // 1 to 128 printable ASCII characters, unique per tenant
  Digest32 salt{};                       // lets any later process of the client derive its keys again
  Digest32 input_commitment{};
  Digest32 commitment_key_digest{};      // of the client's commitment key, so that a receipt can open it
  Bytes ciphertext;                      // the payload under the content key, with tag
  std::vector<Recipient> recipients;     // at most 64; may be empty
  std::chrono::seconds deadline{3600};   // 1 s to 7 days after submission; then the job expires
};
[[nodiscard]] Result<JobRequest> parse_job_request(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const JobRequest& request);
[[nodiscard]] Result<Recipient> parse_recipient(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const Recipient& recipient);

/// A job as the server keeps it.
struct Job {
  JobId id;
  TenantId tenant;
  VersionId version;
  std::string idempotency_key;
  Digest32 request_hash{};
  Digest32 salt{};
  Digest32 input_commitment{};
  Digest32 commitment_key_digest{};
  Digest32 ciphertext_digest{};
  JobState state = JobState::queued;
  std::uint64_t attempts = 0;  // made so far; the fence of the newest
  std::uint8_t progress = 0;   // percent, as the challenge last said
  UnixTime submitted{};
  UnixTime deadline{};
  std::optional<UnixTime> finished;
  std::optional<std::string> failure;  // a code, where state is failed or expired
};
[[nodiscard]] codec::json::Value to_json(const Job& job);
[[nodiscard]] Result<Job> parse_job(const codec::json::Value& value);

/// One lease of a job to an instance.
struct Attempt {
  AttemptId id;
  JobId job;
  InstanceId instance;
  std::uint64_t fence = 0;  // grows with every attempt of the job; a result of an older one is refused
  UnixTime leased{};
  UnixTime lease_until{};
};

/// A result as the instance sent it: nobody but the client can read the output.
struct JobResult {
  JobId job;
  AttemptId attempt;
  Bytes envelope;               // protocol::Envelope, deterministic CBOR, signed as it stands
  ByteArray<64> signature{};    // Ed25519 by the instance's result key
  ByteArray<32> enc{};          // HPKE to the client's reply key
  Bytes sealed_output;
  UnixTime accepted{};
};
[[nodiscard]] codec::json::Value to_json(const JobResult& result);
[[nodiscard]] Result<JobResult> parse_job_result(const codec::json::Value& value);

}  // namespace cloister::model
