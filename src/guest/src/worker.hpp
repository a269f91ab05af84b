#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/cleansed.hpp"
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
///
/// A challenge cannot be told to drop a job. So a job that it was given holds its slot until its result comes, also
/// when the attempt was cancelled and the server has assigned another one meanwhile: that one waits.
/// Does no I/O: messages in, messages out. Not thread-safe.
class Worker {
 public:
  /// The challenge takes `slots` jobs at the same time. The references outlive this.
  Worker(Identity identity, std::uint32_t slots, const Clock& clock, Random& random)
      : identity_{std::move(identity)}, slots_{slots}, clock_{clock}, random_{random} {}

  /// Takes a job, which runs from now on; or says why the attempt failed, to be told to the server. Nothing is executed
  /// whose payload does not open or does not match its commitment. `overloaded` for more attempts than slots.
  [[nodiscard]] std::optional<protocol::AttemptFailed> assign(const protocol::AssignJob& job);
  /// The next job for the challenge, while one waits and a slot is free. Its time counts from here.
  [[nodiscard]] std::optional<protocol::challenge::Job> give();
  /// The sealed and signed result, which is kept until `settled`; nothing for a cancelled job. `challenge_failed` for a
  /// job that the challenge does not have.
  [[nodiscard]] Result<std::optional<protocol::SubmitResult>> finish(const protocol::challenge::Result& result);
  void progress(const protocol::challenge::Progress& progress);
  void cancel(const AttemptId& attempt);
  /// The server has stored the result, or refused it for good.
  void settled(const AttemptId& attempt);

  /// One for each running attempt.
  [[nodiscard]] std::vector<protocol::Heartbeat> heartbeats() const;
  /// True when the challenge has had a job, cancelled or not, for longer than that job may take.
  [[nodiscard]] bool overdue() const;
  /// The challenge is gone, or about to be ended: every running attempt failed, `job_timeout` where its time is over,
  /// else `challenge_failed`.
  [[nodiscard]] std::vector<protocol::AttemptFailed> fail_all();
  /// Jobs that come from now on are done in this session.
  void in_session(SessionId session) { identity_.session = std::move(session); }
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::size_t running() const noexcept { return running_.size(); }
  /// True while the challenge has jobs.
  [[nodiscard]] bool busy() const noexcept { return !given_.empty(); }
  /// Results that nobody has acknowledged yet.
  [[nodiscard]] std::vector<protocol::SubmitResult> unsettled() const;

 private:
  struct Running {
    protocol::AssignJob job;  // without ciphertext
    crypto::X25519Public reply_key{};
    crypto::Secret<32> commitment_key;
    SessionId session;        // in which it was assigned
    UnixTime started{};
    std::uint8_t percent = 0;
  };
  Identity identity_;
  std::uint32_t slots_;
  const Clock& clock_;
  Random& random_;
  std::map<std::string, Running> running_;  // by attempt, which is also the challenge's name for the job
  std::deque<protocol::challenge::Job> waiting_;  // opened, not given to the challenge yet
  std::map<std::string, SteadyTime> given_;       // what the challenge has, and until when it may have it
  std::map<AttemptId, protocol::SubmitResult> results_;
};

}  // namespace cloister::guest
