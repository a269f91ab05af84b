#include "cloister/storage/write_queue.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace cloister::storage {
namespace {

/// As many as may share a commit: the first of them waits for the last.
constexpr std::size_t kMaxTogether = 64;

struct Write {
  WriteQueue::Work work;
  WriteQueue::Done done;
  Result<void> outcome;
};

}  // namespace

struct WriteQueue::State {
  Database& database;
  std::size_t limit;
  std::mutex mutex;  // guards the three below
  std::condition_variable changed;
  std::deque<Write> waiting;
  bool stopping = false;
  std::thread thread;

  State(Database& where, std::size_t most) : database{where}, limit{most} {}

  void run() {
    std::unique_lock held{mutex};
    for (;;) {
      changed.wait(held, [this] { return stopping || !waiting.empty(); });
      if (stopping) return;
      const auto count = std::min(waiting.size(), kMaxTogether);
      const auto end = waiting.begin() + static_cast<std::ptrdiff_t>(count);
      std::vector<Write> batch{std::move_iterator{waiting.begin()}, std::move_iterator{end}};
      waiting.erase(waiting.begin(), end);
      held.unlock();
      if (auto written = write(batch); !written) {
        for (auto& one : batch) one.outcome = written.error();
      }
      for (auto& one : batch) one.done(std::move(one.outcome));
      batch.clear();  // what they own ends outside of the lock
      held.lock();
    }
  }

  /// Errors are those of all of them.
  Result<void> write(std::vector<Write>& batch) {
    CLOISTER_TRY(transaction, database.write());
    for (auto& one : batch) {
      CLOISTER_TRY(kept, transaction.attempt([&] { return one.work(transaction); }));
      one.outcome = std::move(kept);
    }
    return transaction.commit();
  }
};

WriteQueue::WriteQueue(Database& database, std::size_t limit) : state_{std::make_unique<State>(database, limit)} {
  state_->thread = std::thread{[state = state_.get()] { state->run(); }};
}

WriteQueue::~WriteQueue() { stop(); }

void WriteQueue::submit(Work work, Done done) {
  const auto refusal = [&]() -> std::optional<Error> {
    const std::lock_guard held{state_->mutex};
    if (state_->stopping) return Error{Errc::cancelled, "nothing is written any more"};
    if (state_->waiting.size() >= state_->limit) return Error{Errc::overloaded, "too much waits to be written"};
    state_->waiting.push_back({std::move(work), std::move(done), {}});
    return std::nullopt;
  }();
  if (refusal) return done(*refusal);
  state_->changed.notify_one();
}

void WriteQueue::stop() {
  std::deque<Write> dropped;
  {
    const std::lock_guard held{state_->mutex};
    state_->stopping = true;
    dropped.swap(state_->waiting);
  }
  state_->changed.notify_one();
  if (state_->thread.joinable()) state_->thread.join();
  for (auto& one : dropped) one.done(Error{Errc::cancelled, "nothing is written any more"});
}

}  // namespace cloister::storage
