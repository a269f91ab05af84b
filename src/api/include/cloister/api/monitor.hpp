#pragma once

#include <atomic>
#include <functional>
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
enum class Unready {
  starting, stopping, storage_unreadable, storage_unwritable, storage_slow, disk_almost_full, keys_unavailable, keys_slow
};
[[nodiscard]] std::string_view to_string(Unready reason) noexcept;

/// How the server itself is: what `/health`, `/ready`, `/status` and `/metrics` say beyond what the database holds.
/// Thread-safe; what it is made from outlives it.
class Monitor {
 public:
  /// Settings that make the server accept more than it should in production, by name: shown wherever its state is.
  using Taints = std::vector<std::string>;
  /// Whether the keeper of the server's keys serves; may take long. Nothing: it is not asked.
  using KeyProbe = std::function<Result<void>()>;
  Monitor(storage::Database& database, const Clock& clock, Taints taints = {}, KeyProbe keys = {});

  void serving() noexcept { phase_ = Phase::serving; }
  void stopping() noexcept { phase_ = Phase::stopping; }
  /// The server's loop went round. To be called about once a second.
  void beat() noexcept { beat_ = clock_.steady(); }
  /// Whether the loop went round within the last minute.
  [[nodiscard]] bool alive() const noexcept;
  /// Nothing: the server is ready. Has storage and keys tried, for all callers together at most once a second and once in
  /// `kKeysEvery`, and waits a second for that; then it says what was found last, and once a trial takes `kSlow`, that it is slow.
  [[nodiscard]] runtime::Task<std::optional<Unready>> unready();
  static constexpr std::chrono::seconds kSlow{5};
  static constexpr std::chrono::seconds kKeysEvery{5};
  /// What the keeper of the keys said when it was asked last and did not serve.
  [[nodiscard]] std::optional<Error> key_failure() const;

  [[nodiscard]] UnixTime started() const noexcept { return started_; }
  [[nodiscard]] const Taints& taints() const noexcept { return taints_; }

  /// One answered request.
  void observe(const http::RequestMetric& request);
  void write_metrics(metrics::TextWriter& out) const { requests_.write(out); }

 private:
  enum class Phase { starting, serving, stopping };
  /// Something that is tried now and then on a thread of its own, which it may hold for long.
  class Trial {
   public:
    Trial(const Clock& clock, std::function<std::optional<Unready>()> work, std::chrono::seconds every, Unready slow)
        : clock_{clock}, work_{std::move(work)}, every_{every}, slow_{slow} {}
    void begin();
    /// Waits no longer than `patience` for a trial under way; what was found last.
    [[nodiscard]] runtime::Task<std::optional<Unready>> found(Deadline patience);

   private:
    const Clock& clock_;
    const std::function<std::optional<Unready>()> work_;
    const std::chrono::seconds every_;
    const Unready slow_;
    std::mutex mutex_;  // guards the four below
    bool trying_ = false;
    SteadyTime began_{};  // the newest trial
    bool tried_ = false;
    std::optional<Unready> found_;
    runtime::AsyncEvent ended_;
    runtime::BlockingPool thread_{1, 1};  // last: its work uses the others
  };
  [[nodiscard]] std::optional<Unready> try_storage();
  [[nodiscard]] std::optional<Unready> try_keys();
  storage::Database& database_;
  const Clock& clock_;
  const Taints taints_;
  const KeyProbe keys_;
  UnixTime started_;
  std::atomic<Phase> phase_ = Phase::starting;
  std::atomic<SteadyTime> beat_;
  mutable std::mutex mutex_;  // guards the one below
  std::optional<Error> key_failure_;
  metrics::Histograms requests_{"http_request_duration_seconds",
                                "From the first byte of a request's header to the last of its answer.",
                                {"route", "method", "status"}};
  // Last: they use the others.
  Trial storage_trial_{clock_, [this] { return try_storage(); }, std::chrono::seconds{1}, Unready::storage_slow};
  Trial keys_trial_{clock_, [this] { return try_keys(); }, kKeysEvery, Unready::keys_slow};
};

}  // namespace cloister::api
