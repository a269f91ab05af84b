#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/protocol/challenge.hpp"
#include "cloister/protocol/messages.hpp"

namespace cloister::guest {

/// Who this instance is, as its evidence says.
struct Identity {
  InstanceId instance;
  VersionId version;
  Digest32 image_digest{};
  SessionId session;
  crypto::X25519Key payload_key;
  crypto::Ed25519Key result_key;
};

/// The jobs of an instance: opens what the server assigns, and seals and signs what the challenge answers.
/// Does no I/O: messages in, messages out. Not thread-safe.
class Worker {
 public:
  /// The references outlive this.
  Worker(Identity identity, const Clock& clock, Random& random)
      : identity_{std::move(identity)}, clock_{clock}, random_{random} {}

  /// A job for the challenge; or why the attempt failed, to be told to the server. Nothing is executed whose payload
  /// does not open or does not match its commitment.
  [[nodiscard]] std::variant<protocol::challenge::Job, protocol::AttemptFailed> assign(const protocol::AssignJob& job);
  /// The sealed and signed result, which is kept until `settled`; nothing for a job that is not running (cancelled).
  [[nodiscard]] Result<std::optional<protocol::SubmitResult>> finish(const protocol::challenge::Result& result);
  void progress(const protocol::challenge::Progress& progress);
  void cancel(const AttemptId& attempt);
  /// The server has stored the result, or refused it for good.
  void settled(const AttemptId& attempt);

  /// One for each running attempt.
  [[nodiscard]] std::vector<protocol::Heartbeat> heartbeats() const;
  /// Attempts whose time is over, which end here.
  [[nodiscard]] std::vector<protocol::AttemptFailed> take_overdue();
  /// Every running attempt failed with this code, because the challenge is gone.
  [[nodiscard]] std::vector<protocol::AttemptFailed> fail_all(const std::string& code);
  [[nodiscard]] std::size_t running() const noexcept { return running_.size(); }
  /// Results that nobody has acknowledged yet.
  [[nodiscard]] std::vector<protocol::SubmitResult> unsettled() const;

 private:
  struct Running {
    protocol::AssignJob job;  // without ciphertext
    crypto::X25519Public reply_key{};
    crypto::Secret<32> commitment_key;
    UnixTime started{};
    SteadyTime until{};
    std::uint8_t percent = 0;
  };
  Identity identity_;
  const Clock& clock_;
  Random& random_;
  std::map<std::string, Running> running_;  // by attempt, which is also the challenge's name for the job
  std::map<AttemptId, protocol::SubmitResult> results_;
};

}  // namespace cloister::guest
