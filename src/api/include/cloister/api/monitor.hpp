#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/time.hpp"
#include "cloister/http/server.hpp"
#include "cloister/metrics/families.hpp"
#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::api {

/// Why requests should go elsewhere.
enum class Unready { starting, stopping, storage_unreadable, storage_unwritable, storage_slow, disk_almost_full };
[[nodiscard]] std::string_view to_string(Unready reason) noexcept;

/// How the server itself is: what `/health`, `/ready`, `/status` and `/metrics` say beyond what the database holds.
/// Thread-safe; what it is made from outlives it.
class Monitor {
 public:
  /// Settings that make the server accept more than it should in production, by name: shown wherever its state is.
  using Taints = std::vector<std::string>;
  Monitor(storage::Database& database, const Clock& clock, Taints taints = {});

  void serving() noexcept { phase_ = Phase::serving; }
  void stopping() noexcept { phase_ = Phase::stopping; }
  /// The server's loop went round. To be called about once a second.
  void beat() noexcept { beat_ = clock_.steady(); }
  /// Whether the loop went round within the last minute.
  [[nodiscard]] bool alive() const noexcept;
  /// Nothing: the server is ready. Has the storage tried, at most once a second for all callers together, and waits a
  /// second for that; then it says what was found last, and once a trial takes `kSlow`, `storage_slow`.
  [[nodiscard]] runtime::Task<std::optional<Unready>> unready();
  static constexpr std::chrono::seconds kSlow{5};

  [[nodiscard]] UnixTime started() const noexcept { return started_; }
  [[nodiscard]] const Taints& taints() const noexcept { return taints_; }

  /// One answered request.
  void observe(const http::RequestMetric& request);
  void write_metrics(metrics::TextWriter& out) const { requests_.write(out); }

 private:
  enum class Phase { starting, serving, stopping };
  [[nodiscard]] static std::optional<Unready> try_storage(storage::Database& database);
  void begin_trial(SteadyTime now);
  storage::Database& database_;
  const Clock& clock_;
  Taints taints_;
  UnixTime started_;
  std::atomic<Phase> phase_ = Phase::starting;
  std::atomic<SteadyTime> beat_;
  std::mutex mutex_;  // guards the four below
  bool trying_ = false;
  SteadyTime began_{};  // the newest trial
  bool tried_ = false;
  std::optional<Unready> found_;
  runtime::AsyncEvent ended_;
  metrics::Histograms requests_{"http_request_duration_seconds",
                                "From the first byte of a request's header to the last of its answer.",
                                {"route", "method", "status"}};
  runtime::BlockingPool trials_{1, 1};  // last: its work uses the others
};

}  // namespace cloister::api
