#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "cloister/codec/cursor.hpp"
#include "frames.hpp"

namespace cloister::sdk {
namespace {

constexpr unsigned kMaxSlots = 64;

/// Fills `out`; `peer_closed` at the end of the stream.
Result<void> read_exactly(int fd, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const auto n = ::recv(fd, out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{Errc::peer_closed, "the guest is gone"};
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<Bytes> read_frame(int fd) {
  ByteArray<4> prefix{};
  CLOISTER_CHECK(read_exactly(fd, prefix));
  const auto size = codec::Reader{prefix}.u32be().value_or(0);
  if (size > kMaxFrame) return Error{Errc::limit_exceeded, "a frame of at most 80 MiB expected"};
  Bytes frame(size);
  CLOISTER_CHECK(read_exactly(fd, frame));
  return frame;
}

Result<FromGuest> read_message(int fd) {
  CLOISTER_TRY(frame, read_frame(fd));
  auto message = decode(frame);
  wipe(frame);
  return message;
}

/// Calls into the challenge; an exception is an error like any other.
template <class Call>
auto guarded(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& failure) {
    return Error{Errc::internal, failure.what()};
  } catch (...) {
    return Error{Errc::internal, "the challenge threw something"};
  }
}

/// The writing end, shared by the threads: whole frames, one after the other. Once the guest is gone, frames go
/// nowhere.
class Outlet {
 public:
  explicit Outlet(int fd) noexcept : fd_{fd} {}
  void send(ByteView frame) {
    const std::lock_guard lock{mutex_};
    while (!frame.empty()) {
      const auto n = ::send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return;
      frame = frame.subspan(static_cast<std::size_t>(n));
    }
  }

 private:
  int fd_;
  std::mutex mutex_;
};

class Context final : public JobContext {
 public:
  Context(const std::string& id, Outlet& outlet, const std::atomic<bool>& stopped) noexcept
      : id_{id}, outlet_{outlet}, stopped_{stopped} {}
  const std::string& id() const noexcept override { return id_; }
  void progress(unsigned percent) override { outlet_.send(progress_frame(id_, percent)); }
  void log(LogLevel level, std::string_view text) override { outlet_.send(log_frame(level, text)); }
  bool stopped() const noexcept override { return stopped_; }

 private:
  const std::string& id_;
  Outlet& outlet_;
  const std::atomic<bool>& stopped_;
};

/// One thread a slot, and the jobs that they have been given and not finished.
class Workers {
 public:
  Workers(Challenge& challenge, Outlet& outlet, unsigned slots)
      : challenge_{challenge}, outlet_{outlet}, slots_{slots} {}
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock{mutex_};
      stopped_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  Result<void> begin() {
    try {
      for (unsigned i = 0; i < slots_; ++i) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& failure) {
      return Error{Errc::unavailable, std::string{"no thread for a slot: "} + failure.what()};
    }
    return {};
  }

  /// Refused when the guest gives more jobs than there are slots, or one twice.
  Result<void> give(Job job) {
    {
      const std::lock_guard lock{mutex_};
      if (unfinished_.size() == slots_) return Error{Errc::malformed, "more jobs than slots"};
      if (!unfinished_.insert(job.id).second) return Error{Errc::malformed, "a job that is running already"};
      waiting_.push_back(std::move(job));
    }
    changed_.notify_one();
    return {};
  }

 private:
  void work() {
    while (true) {
      std::unique_lock lock{mutex_};
      changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
      if (stopped_) return;
      auto job = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      execute(job);
    }
  }

  void execute(const Job& job) {
    Context context{job.id, outlet_, stopped_};
    auto output = guarded([&] { return challenge_.execute(job.payload, context); });
    if (output && output->size() > kMaxOutput) {
      wipe(*output);
      output = Error{Errc::limit_exceeded, "an output of at most 64 MiB expected"};
    }
    auto frame = output ? result_frame(job.id, true, *output)
                        : result_frame(job.id, false, as_bytes(output.error().text().substr(0, kMaxOutput)));
    if (output) wipe(*output);
    bool wanted = true;
    {
      // The slot is free before the guest can know of it.
      const std::lock_guard lock{mutex_};
      unfinished_.erase(job.id);
      wanted = !stopped_;
    }
    if (wanted) outlet_.send(frame);
    wipe(frame);
  }

  Challenge& challenge_;
  Outlet& outlet_;
  const unsigned slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> stopped_ = false;
  std::deque<Job> waiting_;
  std::set<std::string> unfinished_;
  std::vector<std::thread> threads_;
};

Result<void> start(Challenge& challenge, int fd) {
  CLOISTER_TRY(message, read_message(fd));
  auto* first = std::get_if<Start>(&message);
  if (first == nullptr) return Error{Errc::malformed, "start expected first"};
  return guarded([&] { return challenge.start(first->secrets); });
}

}  // namespace

Result<void> serve(Challenge& challenge, int fd, const Options& options) {
  CLOISTER_ASSERT(options.slots >= 1 && options.slots <= kMaxSlots);
  Outlet outlet{fd};
  Workers workers{challenge, outlet, options.slots};
  auto started = start(challenge, fd);
  if (started) started = workers.begin();
  if (!started) {
    outlet.send(failed_frame(started.error().detail()));
    return started;
  }
  outlet.send(ready_frame(options.slots));
  while (true) {
    CLOISTER_TRY(message, read_message(fd));
    if (std::holds_alternative<Stop>(message)) return {};
    auto* job = std::get_if<Job>(&message);
    if (job == nullptr) return Error{Errc::malformed, "start a second time"};
    CLOISTER_CHECK(workers.give(std::move(*job)));
  }
}

int run(Challenge& challenge, const Options& options) {
  const char* text = std::getenv("CLOISTER_CHALLENGE_FD");
  const std::string_view number = text == nullptr ? std::string_view{} : std::string_view{text};
  int fd = -1;
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), fd);
  if (failure != std::errc{} || end != number.data() + number.size() || fd < 0) {
    std::fputs("CLOISTER_CHALLENGE_FD is not a descriptor: this program is started by cloister-guest\n", stderr);
    return 2;
  }
  const auto served = serve(challenge, fd, options);
  if (served) return 0;
  std::fprintf(stderr, "%s\n", served.error().text().c_str());
  return 1;
}

}  // namespace cloister::sdk
