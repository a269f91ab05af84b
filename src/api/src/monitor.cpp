#include "cloister/api/monitor.hpp"

#include <algorithm>
#include <array>

namespace cloister::api {
namespace {

constexpr std::chrono::seconds kLife{60};
constexpr std::chrono::seconds kPatience{1};
constexpr std::uint64_t kLeastFree = 16U << 20;
constexpr std::array<std::string_view, 7> kMethods{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

}  // namespace

std::string_view to_string(Unready reason) noexcept {
  switch (reason) {
    case Unready::starting: return "starting";
    case Unready::stopping: return "stopping";
    case Unready::storage_unreadable: return "storage_unreadable";
    case Unready::storage_unwritable: return "storage_unwritable";
    case Unready::storage_slow: return "storage_slow";
    case Unready::disk_almost_full: return "disk_almost_full";
    case Unready::keys_unavailable: return "keys_unavailable";
    case Unready::keys_slow: return "keys_slow";
  }
  return "starting";
}

Monitor::Monitor(storage::Database& database, const Clock& clock, Taints taints, KeyProbe keys)
    : database_{database},
      clock_{clock},
      taints_{std::move(taints)},
      keys_{std::move(keys)},
      started_{clock.now()},
      beat_{clock.steady()} {}

bool Monitor::alive() const noexcept { return clock_.steady() - beat_.load() < kLife; }

runtime::Task<std::optional<Unready>> Monitor::unready() {
  switch (phase_.load()) {
    case Phase::starting: co_return Unready::starting;
    case Phase::stopping: co_return Unready::stopping;
    case Phase::serving: break;
  }
  storage_trial_.begin();
  if (keys_) keys_trial_.begin();
  const Deadline patience{std::chrono::steady_clock::now() + kPatience};
  const auto storage = co_await storage_trial_.found(patience);
  if (storage || !keys_) co_return storage;
  co_return co_await keys_trial_.found(patience);
}

std::optional<Error> Monitor::key_failure() const {
  const std::lock_guard held{mutex_};
  return key_failure_;
}

void Monitor::Trial::begin() {
  const auto now = clock_.steady();
  {
    const std::lock_guard held{mutex_};
    if (trying_ || (tried_ && now - began_ < every_)) return;
    trying_ = true;
    began_ = now;
  }
  thread_.post([this] {
    const auto found = work_();
    {
      const std::lock_guard held{mutex_};
      trying_ = false;
      tried_ = true;
      found_ = found;
    }
    ended_.notify_all();
  });
}

runtime::Task<std::optional<Unready>> Monitor::Trial::found(Deadline patience) {
  const auto seen = ended_.version();
  const auto waiting = [this] {
    const std::lock_guard held{mutex_};
    return trying_ && clock_.steady() - began_ < kSlow;
  };
  if (waiting()) static_cast<void>(co_await ended_.wait(seen, patience));
  const std::lock_guard held{mutex_};
  if (trying_ && clock_.steady() - began_ >= kSlow) co_return slow_;
  if (!tried_) co_return Unready::starting;
  co_return found_;
}

std::optional<Unready> Monitor::try_storage() {
  if (!database_.read()) return Unready::storage_unreadable;
  if (!database_.probe()) return database_.slow() ? Unready::storage_slow : Unready::storage_unwritable;
  const auto sizes = database_.sizes();
  if (!sizes) return Unready::storage_unreadable;
  if (sizes->free < kLeastFree) return Unready::disk_almost_full;
  return std::nullopt;
}

std::optional<Unready> Monitor::try_keys() {
  const auto serves = keys_();
  const std::lock_guard held{mutex_};
  key_failure_ = serves ? std::nullopt : std::optional{serves.error()};
  return serves ? std::nullopt : std::optional{Unready::keys_unavailable};
}

void Monitor::observe(const http::RequestMetric& request) {
  // A peer may send any word as its method.
  const bool known = std::ranges::find(kMethods, request.method) != kMethods.end();
  const auto status = std::to_string(request.status);
  requests_.with({request.route, known ? request.method : "other", status}).observe(request.seconds);
}

}  // namespace cloister::api
