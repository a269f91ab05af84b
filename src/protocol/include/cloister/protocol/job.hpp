#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/hpke.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/model/job.hpp"

/// Sealed jobs and results (docs/protocol/jobs.md).
namespace cloister::protocol {

/// All keys of one job, derived from the client's one secret; any later process of the client derives them again
/// from the secret and the job's salt.
class ClientJobKeys {
 public:
  /// salt = HMAC(secret, ["cloister/salt/1", idempotency_key, SHA-256(payload)]).
  [[nodiscard]] static Digest32 salt(const crypto::Secret<32>& client_secret, std::string_view idempotency_key,
                                     ByteView payload);
  [[nodiscard]] static ClientJobKeys derive(const crypto::Secret<32>& client_secret, const Digest32& salt);

  [[nodiscard]] const JobId& job() const noexcept { return job_; }
  [[nodiscard]] const crypto::Secret<32>& content_key() const noexcept { return content_; }
  [[nodiscard]] const crypto::Secret<32>& commitment_key() const noexcept { return commitment_; }
  [[nodiscard]] const crypto::X25519Key& reply_key() const noexcept { return reply_; }

 private:
  ClientJobKeys(JobId job, crypto::Secret<32> content, crypto::Secret<32> commitment, crypto::X25519Key reply)
      : job_{std::move(job)}, content_{std::move(content)}, commitment_{std::move(commitment)}, reply_{std::move(reply)} {}
  JobId job_;
  crypto::Secret<32> content_;
  crypto::Secret<32> commitment_;
  crypto::X25519Key reply_;
};

/// HMAC(C, ["cloister/in/1", job, version, reply_key, payload]).
[[nodiscard]] Digest32 input_commitment(const crypto::Secret<32>& commitment_key, const JobId& job,
                                        const VersionId& version, const crypto::X25519Public& reply_key,
                                        ByteView payload);
/// HMAC(C, ["cloister/out/1", job, version, status, output]).
[[nodiscard]] Digest32 output_commitment(const crypto::Secret<32>& commitment_key, const JobId& job,
                                         const VersionId& version, std::string_view status, ByteView output);
/// SHA-256(["cloister/commitment-key/1", C]): public, so that a receipt that carries C can be checked.
[[nodiscard]] Digest32 commitment_key_digest(const crypto::Secret<32>& commitment_key);

/// SHA-256 over what makes a retry the same request: job, version, commitments, ciphertext and deadline, never the
/// recipients.
[[nodiscard]] Digest32 request_hash(const model::JobRequest& request);

/// The unchanging facts of a job, as receipts and the audit log have them: ["cloister/job/1", job, tenant, version,
/// challenge, request_hash, salt, input_commitment, commitment_key_digest, ciphertext_digest, submitted, deadline].
[[nodiscard]] Bytes encode_job_record(const model::Job& job, const ChallengeId& challenge);

/// The payload encrypted once, without recipients.
[[nodiscard]] model::JobRequest seal_job(const ClientJobKeys& keys, const VersionId& version,
                                         std::string_view idempotency_key, const Digest32& salt, ByteView payload,
                                         std::chrono::seconds deadline);
/// The content key for one more instance.
[[nodiscard]] Result<model::Recipient> seal_recipient(const crypto::Secret<32>& content_key, const JobId& job,
                                                      const VersionId& version, const InstanceId& instance,
                                                      const crypto::X25519Public& payload_key,
                                                      const Digest32& input_commitment,
                                                      const Digest32& ciphertext_digest, Random& random);

/// What an instance gets out of a job.
struct OpenedJob {
  crypto::X25519Public reply_key{};
  crypto::Secret<32> commitment_key;
  crypto::SecretBytes payload;
};
/// Opens the content key and the payload, and recomputes the commitment. `decryption_failed`, or
/// `input_commitment_mismatch` (the cipher does not commit to its key; nothing is executed then).
[[nodiscard]] Result<OpenedJob> open_job(const crypto::X25519Key& payload_key, const JobId& job,
                                         const VersionId& version, const InstanceId& instance,
                                         const Digest32& input_commitment, ByteView ciphertext,
                                         const ByteArray<32>& enc, ByteView sealed_key);

/// What an instance signs about a result. Encoded as
/// ["cloister/envelope/1", {…}], the map's keys in deterministic order.
struct Envelope {
  JobId job;
  AttemptId attempt;
  std::uint64_t fence = 0;
  VersionId version;
  InstanceId instance;
  SessionId session;
  Digest32 image_digest{};
  Digest32 input_commitment{};
  Digest32 output_commitment{};
  Digest32 sealed_output_digest{};  // SHA-256(enc || ciphertext)
  std::string status;               // "ok", or "error": the challenge answered with an error
  UnixTime started{};
  UnixTime finished{};
  friend bool operator==(const Envelope&, const Envelope&) = default;
};
[[nodiscard]] Bytes encode(const Envelope& envelope);
[[nodiscard]] Result<Envelope> decode_envelope(ByteView bytes);
[[nodiscard]] Digest32 sealed_output_digest(const ByteArray<32>& enc, ByteView sealed_output);

/// HPKE info of a result: ["cloister/result/1", job, attempt, fence, input_commitment].
[[nodiscard]] Bytes result_info(const JobId& job, const AttemptId& attempt, std::uint64_t fence,
                                const Digest32& input_commitment);
/// The output for the client's eyes.
[[nodiscard]] Result<crypto::HpkeSealed> seal_output(const crypto::X25519Public& reply_key, const Envelope& envelope,
                                                     ByteView output, Random& random);
/// Opens a result and checks it against the envelope's digests and commitments; the envelope's signature is checked
/// before, against the result key in the instance's evidence.
[[nodiscard]] Result<crypto::SecretBytes> open_output(const ClientJobKeys& keys, const Envelope& envelope,
                                                      const model::JobResult& result);

}  // namespace cloister::protocol
