#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// What a challenge program implements, and the loop that serves it to its guest (docs/protocol/challenge.md).
namespace cloister::sdk {

/// A version of a derived key (docs/derived-keys.md): 32 bytes, a view into the secrets that it is among.
struct DerivedKey {
  std::uint64_t version = 0;
  ByteView value;
};

/// The secrets and derived keys that the key broker released to this instance. Overwritten in memory when they go.
class Secrets {
 public:
  explicit Secrets(std::vector<std::pair<std::string, Bytes>> values) noexcept : values_{std::move(values)} {}
  Secrets(Secrets&& other) noexcept : values_{std::exchange(other.values_, {})} {}
  Secrets& operator=(Secrets&& other) noexcept {
    values_.swap(other.values_);
    return *this;
  }
  ~Secrets();

  /// The secret of that name; a view into this object.
  [[nodiscard]] std::optional<ByteView> find(std::string_view name) const noexcept;
  /// The derived key of that purpose in every version that this instance may have, oldest first. What is written anew
  /// belongs under the last; what an older one wrote opens under that.
  [[nodiscard]] std::vector<DerivedKey> derived_keys(std::string_view purpose) const;

 private:
  std::vector<std::pair<std::string, Bytes>> values_;
};

enum class LogLevel { debug, info, warn, error };

/// One running job's way to the guest. May be used from the thread that executes the job.
class JobContext {
 public:
  virtual ~JobContext() = default;
  [[nodiscard]] virtual const std::string& id() const noexcept = 0;
  /// 0 to 100; more counts as 100.
  virtual void progress(unsigned percent) = 0;
  /// Leaves the confidential VM: never a secret or a payload. Cut after 4 KiB.
  virtual void log(LogLevel level, std::string_view text) = 0;
  /// True once nobody waits for the output any more.
  [[nodiscard]] virtual bool stopped() const noexcept = 0;
};

class Challenge {
 public:
  virtual ~Challenge() = default;
  /// Once, before any job. An error says why the challenge cannot serve, without secrets; it ends the instance.
  [[nodiscard]] virtual Result<void> start(const Secrets& secrets) = 0;
  /// The output for a payload; both are overwritten in memory once it is sent. An error's text becomes the output of a failed job, which the client alone reads. Called
  /// from several threads at the same time when there are several slots.
  [[nodiscard]] virtual Result<Bytes> execute(ByteView payload, JobContext& job) = 0;
};

struct Options {
  unsigned slots = 1;  // jobs at the same time, 1 to 64 (asserted)
};

/// Serves the guest at the other end of the socket `fd`, which stays the caller's, until it says stop. Returns after
/// the jobs that still run have returned; their outputs are dropped. Exceptions of `challenge` fail the start or the
/// job. Errors: that of `start`; `peer_closed` when the guest goes without a stop; those of a broken frame.
[[nodiscard]] Result<void> serve(Challenge& challenge, int fd, const Options& options = {});

/// The whole of `main`: serves the descriptor that CLOISTER_CHALLENGE_FD names, and returns the exit status (0 after a
/// stop, 1 after a failure, 2 when the program was not started by a guest); failures are told on standard error.
[[nodiscard]] int run(Challenge& challenge, const Options& options = {});

}  // namespace cloister::sdk
