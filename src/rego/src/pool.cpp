#include "pool.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace cloister::rego {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimits = false;  // they reserve terabytes, and write files
#else
constexpr bool kLimits = true;
#endif

constexpr int kDescriptor = 3;
/// Of a start, of what compiles a policy, and of who waits for a process to do that.
constexpr milliseconds kStart{10'000};
constexpr milliseconds kLoad{1'000};
constexpr milliseconds kLoadPatience{2'000};
/// Until one that has closed its end has ended.
constexpr milliseconds kEnd{1'000};
constexpr process::FrameLimits kFrames{.bytes = 16U << 20, .descriptors = 0};

Deadline after(std::chrono::microseconds time) { return Deadline{steady_clock::now() + time}; }

Error stopped() { return Error{Errc::cancelled, "policies are not evaluated any more: the server stops"}; }

}  // namespace

Isolation::Pool::Pool(Options options) : options_{std::move(options)} {
  keeper_ = std::thread{[this] { keep(); }};
}

Result<Isolation::Pool::Worker> Isolation::Pool::begin() const {
  CLOISTER_TRY(pair, process::stream_pair());
  process::Command command;
  command.program = options_.program;
  command.arguments = options_.arguments;
  command.descriptors = {{.source = pair.second.get(), .target = kDescriptor}};
  if (kLimits) {
    command.limits.memory_bytes = options_.memory;
    command.limits.file_bytes = 0;
  }
  command.limits.open_files = 16;
  CLOISTER_TRY(child, process::ChildProcess::start(command));
  return Worker{std::move(child), process::FrameSocket{std::move(pair.first), kFrames}};
}

void Isolation::Pool::keep() {
  std::unique_lock held{mutex_};
  for (;;) {
    changed_.wait(held, [this] { return stopping_ || wanted_ > 0; });
    if (stopping_) break;
    --wanted_;
    ++alive_;
    held.unlock();
    auto worker = begin();
    held.lock();
    if (worker) {
      idle_.push_back(*std::move(worker));
    } else {
      --alive_;
      ++failures_;
      failure_ = worker.error();
    }
    changed_.notify_all();
  }
  // They must not outlive this thread, and nobody else may start one.
  changed_.wait(held, [this] { return taken_.empty(); });
  idle_.clear();
}

Result<Isolation::Pool::Worker> Isolation::Pool::acquire(milliseconds patience) {
  std::unique_lock held{mutex_};
  const auto until = steady_clock::now() + patience;
  const auto failures = failures_;
  for (;;) {
    if (stopping_) return stopped();
    while (!idle_.empty()) {
      auto worker = std::move(idle_.back());
      idle_.pop_back();
      if (!worker.child.poll()) {
        taken_.push_back(worker.child.exit_fd());
        return worker;
      }
      --alive_;  // ended while nobody used it
      ++lost_;
    }
    if (failures_ != failures) return *failure_;
    if (alive_ + wanted_ < options_.processes) {
      ++wanted_;
      changed_.notify_all();
    }
    if (changed_.wait_until(held, until) == std::cv_status::timeout && idle_.empty() && !stopping_) {
      return Error{Errc::overloaded, "other policies that take long are evaluated: try again later"};
    }
  }
}

void Isolation::Pool::release(Worker worker) {
  {
    const std::lock_guard held{mutex_};
    std::erase(taken_, worker.child.exit_fd());
    idle_.push_back(std::move(worker));
  }
  changed_.notify_all();
}

void Isolation::Pool::give_up(Worker worker) {
  {
    const std::lock_guard held{mutex_};
    std::erase(taken_, worker.child.exit_fd());
  }
  { const auto ended = std::move(worker); }  // killed, and waited for
  {
    const std::lock_guard held{mutex_};
    --alive_;
    ++lost_;
    ++wanted_;  // so that whoever comes next need not wait for it
  }
  changed_.notify_all();
}

Result<void> Isolation::Pool::warm_up() {
  CLOISTER_TRY(worker, acquire(kStart));
  // A policy that it does not know: an answer at all says that the program serves.
  const Question nothing;
  auto answer = exchange(worker, write_ask(0, nothing), kStart);
  if (!answer || !std::holds_alternative<PolicyUnknown>(*answer)) {
    give_up(std::move(worker));
    return Error{Errc::unavailable, options_.program.string() + ": it does not evaluate policies: " +
                                        (answer ? std::string{"another answer than expected"} : answer.error().text())};
  }
  release(std::move(worker));
  return {};
}

Result<Answer> Isolation::Pool::exchange(Worker& worker, ByteView request, std::chrono::microseconds time) {
  const auto deadline = after(time);
  CLOISTER_CHECK(worker.socket.send(request, {}, deadline));
  CLOISTER_TRY(frame, worker.socket.receive(deadline));
  return read_answer_frame(frame.payload);
}

Error Isolation::Pool::why_lost(Worker& worker, const Error& seen, std::string what, std::chrono::microseconds time) {
  if (seen.code() == Errc::deadline_exceeded) {
    const auto ms = std::chrono::duration_cast<milliseconds>(time).count();
    return Error{Errc::deadline_exceeded, what + " did not end: it was stopped after " + std::to_string(ms) + " ms"};
  }
  if (seen.code() != Errc::peer_closed && seen.code() != Errc::truncated) return seen.in("the process that evaluates policies");
  const auto status = worker.child.wait(after(kEnd));
  return Error{Errc::limit_exceeded, what + " needs more memory than it may: its process ended (" +
                                         (status ? status->text() : seen.text()) + ')'};
}

Result<Answer> Isolation::Pool::load_into(Worker& worker, std::uint64_t policy, std::span<const Module> modules,
                                          std::span<const std::string> entrypoints) {
  auto loaded = exchange(worker, write_load(policy, modules, entrypoints), kLoad);
  if (!loaded) return why_lost(worker, loaded.error(), "the policy's compilation", kLoad);
  return loaded;
}

Result<Answer> Isolation::Pool::ask(Worker& worker, std::uint64_t policy, std::span<const Module> modules,
                                    std::span<const std::string> entrypoints, const Question& question) const {
  const auto time = (question.explain == Explain::yes ? 2 : 1) * question.time + options_.grace;
  const auto request = write_ask(policy, question);
  auto answer = exchange(worker, request, time);
  if (answer && std::holds_alternative<PolicyUnknown>(*answer)) {
    CLOISTER_TRY(loaded, load_into(worker, policy, modules, entrypoints));
    if (!std::holds_alternative<Answered>(loaded)) return loaded;
    answer = exchange(worker, request, time);
  }
  if (!answer) return why_lost(worker, answer.error(), "one step of the policy", time);
  return answer;
}

Result<std::string> Isolation::Pool::finish(Worker worker, Result<Answer> answer) {
  if (!answer) {
    give_up(std::move(worker));
    const std::lock_guard held{mutex_};
    return stopping_ ? stopped() : std::move(answer).error();
  }
  release(std::move(worker));
  if (auto* error = std::get_if<Error>(&*answer)) return std::move(*error);
  auto* answered = std::get_if<Answered>(&*answer);
  if (answered == nullptr) return Error{Errc::internal, "the policy was loaded and is not known"};
  return std::move(answered->text);
}

Result<void> Isolation::Pool::load(std::uint64_t policy, std::span<const Module> modules, std::span<const std::string> entrypoints) {
  CLOISTER_TRY(worker, acquire(kLoadPatience));
  auto loaded = load_into(worker, policy, modules, entrypoints);
  CLOISTER_TRY(done, finish(std::move(worker), std::move(loaded)));
  static_cast<void>(done);
  return {};
}

Result<std::string> Isolation::Pool::evaluate(std::uint64_t policy, std::span<const Module> modules,
                                              std::span<const std::string> entrypoints, const Question& question) {
  CLOISTER_TRY(worker, acquire(kPatience));
  auto answer = ask(worker, policy, modules, entrypoints, question);
  return finish(std::move(worker), std::move(answer));
}

void Isolation::Pool::stop() {
  {
    const std::lock_guard held{mutex_};
    stopping_ = true;
    // Whoever waits for one of these sees its end.
    for (const auto pidfd : taken_) ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  }
  changed_.notify_all();
  if (keeper_.joinable()) keeper_.join();
}

std::uint64_t Isolation::Pool::lost() const {
  const std::lock_guard held{mutex_};
  return lost_;
}

}  // namespace cloister::rego
