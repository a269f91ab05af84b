#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "cloister/attestation/tcb.hpp"
#include "cloister/client/orchestrator.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/policy/trust_file.hpp"
#include "cloister/protocol/job.hpp"

namespace cloister::client {

/// An instance whose evidence this client verified itself.
struct VerifiedInstance {
  InstanceId id;
  crypto::X25519Public payload_key{};
  crypto::Ed25519Public result_key{};
  Digest48 mrtd{};
  attestation::TcbStatus tcb{};
  bool lab = false;
};

/// Verifies what the server says that an instance showed, at `now`, against the trust file: evidence up to one of its
/// roots, its binding, measurements of that version, the server key that the TD shook hands with (where the file lists
/// any), and that it is this instance. The keys come out of the evidence.
[[nodiscard]] Result<VerifiedInstance> verify_instance(const model::Instance& instance, const policy::TrustFile& trust,
                                                       const ChallengeId& challenge, const VersionId& version,
                                                       UnixTime now);

/// What happens to a job, for whoever watches.
struct JobEvents {
  std::function<void(const VerifiedInstance&)> accepted = [](const VerifiedInstance&) {};
  std::function<void(const InstanceId&, const Error&)> refused = [](const InstanceId&, const Error&) {};
  std::function<void(const model::Job&)> progressed = [](const model::Job&) {};
  /// The server does not answer; the runner asks again for a minute.
  std::function<void(const Error&)> interrupted = [](const Error&) {};
};

struct JobOrder {
  ChallengeId challenge;
  VersionId version;
  std::string idempotency_key;
  ByteView payload;
  std::chrono::seconds deadline{3600};
};

struct FinishedJob {
  JobId job;
  protocol::Envelope envelope;
  crypto::SecretBytes output;
  receipt::Receipt receipt;  // with the client's opening
};

/// Seals jobs to instances that it verified, waits for their results, and opens them. The references outlive it.
class JobRunner {
 public:
  JobRunner(Orchestrator& orchestrator, const policy::TrustFile& trust, const crypto::Secret<32>& secret,
            const Clock& clock, Random& random)
      : orchestrator_{orchestrator}, trust_{trust}, secret_{secret}, clock_{clock}, random_{random} {}

  /// Runs a job to its end. A job that waits for recipients is sealed to instances that became ready. Errors: the
  /// job's failure (`challenge_failed`…), `deadline_exceeded` when it expired, what verification or opening refuse.
  [[nodiscard]] Result<FinishedJob> run(const JobOrder& order, const JobEvents& events);
  /// The result of a job that was submitted before, also by another process with the same secret. It is waited for, and
  /// sealed to further instances, as `run` does: the content key follows from the secret. That the version is the job's
  /// own is the server's word here; an instance of another one cannot open the payload, which names its version.
  [[nodiscard]] Result<FinishedJob> collect(const JobId& job, const JobEvents& events);

 private:
  /// What is sealed to instances, and for which.
  struct Sealing {
    const protocol::ClientJobKeys& keys;
    ChallengeId challenge;
    VersionId version;
    Digest32 input_commitment{};
    Digest32 ciphertext_digest{};
  };
  [[nodiscard]] Result<std::vector<model::Recipient>> seal_to_ready(const Sealing& sealing, const JobEvents& events);
  [[nodiscard]] Result<Orchestrator::JobView> look(const JobId& job, const JobEvents& events);
  /// From a job as it is to its result.
  [[nodiscard]] Result<FinishedJob> follow(const Sealing& sealing, Orchestrator::JobView view, const JobEvents& events);
  [[nodiscard]] Result<FinishedJob> open(const protocol::ClientJobKeys& keys, const model::Job& job,
                                         const JobEvents& events);
  Orchestrator& orchestrator_;
  const policy::TrustFile& trust_;
  const crypto::Secret<32>& secret_;
  const Clock& clock_;
  Random& random_;
};

}  // namespace cloister::client
