#include "cloister/api/monitor.hpp"

#include <algorithm>
#include <array>

namespace cloister::api {
namespace {

constexpr std::chrono::seconds kLife{60};
constexpr std::chrono::seconds kTryEvery{1};
constexpr std::uint64_t kLeastFree = 16U << 20;
constexpr std::array<std::string_view, 7> kMethods{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

}  // namespace

std::string_view to_string(Unready reason) noexcept {
  switch (reason) {
    case Unready::starting: return "starting";
    case Unready::stopping: return "stopping";
    case Unready::storage_unreadable: return "storage_unreadable";
    case Unready::storage_unwritable: return "storage_unwritable";
    case Unready::disk_almost_full: return "disk_almost_full";
  }
  return "starting";
}

Monitor::Monitor(storage::Database& database, const Clock& clock, Taints taints)
    : database_{database},
      clock_{clock},
      taints_{std::move(taints)},
      started_{clock.now()},
      beat_{clock.steady()} {}

bool Monitor::alive() const noexcept { return clock_.steady() - beat_.load() < kLife; }

std::optional<Unready> Monitor::unready() {
  switch (phase_.load()) {
    case Phase::starting: return Unready::starting;
    case Phase::stopping: return Unready::stopping;
    case Phase::serving: break;
  }
  const std::unique_lock first{trying_, std::try_to_lock};
  const auto now = clock_.steady();
  {
    const std::lock_guard held{mutex_};
    const bool fresh = tried_ && now - *tried_ < kTryEvery;
    if (fresh || !first) return found_;
  }
  const auto found = try_storage();
  const std::lock_guard held{mutex_};
  tried_ = now;
  found_ = found;
  return found;
}

std::optional<Unready> Monitor::try_storage() {
  if (!database_.read()) return Unready::storage_unreadable;
  if (!database_.probe()) return Unready::storage_unwritable;
  const auto sizes = database_.sizes();
  if (!sizes) return Unready::storage_unreadable;
  if (sizes->free < kLeastFree) return Unready::disk_almost_full;
  return std::nullopt;
}

void Monitor::observe(const http::RequestMetric& request) {
  // A peer may send any word as its method.
  const bool known = std::ranges::find(kMethods, request.method) != kMethods.end();
  const auto status = std::to_string(request.status);
  requests_.with({request.route, known ? request.method : "other", status}).observe(request.seconds);
}

}  // namespace cloister::api
