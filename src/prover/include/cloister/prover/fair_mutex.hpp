#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace cloister::prover {

/// A mutex that is given in the order in which it was asked for, so that whoever asks for it again and again keeps nobody
/// waiting for more than one turn. For std::lock_guard.
class FairMutex {
 public:
  void lock() {
    std::unique_lock guard{mutex_};
    const auto mine = next_++;
    changed_.wait(guard, [&] { return turn_ == mine; });
  }
  void unlock() {
    {
      const std::lock_guard guard{mutex_};
      ++turn_;
    }
    changed_.notify_all();
  }
  /// How many hold it or wait for it now.
  [[nodiscard]] std::uint64_t asked() const {
    const std::lock_guard guard{mutex_};
    return next_ - turn_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0;
  std::uint64_t turn_ = 0;
};

}  // namespace cloister::prover
