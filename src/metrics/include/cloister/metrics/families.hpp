#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/time.hpp"
#include "cloister/metrics/text_writer.hpp"

/// What changes as the program works. Everything here is thread-safe.
namespace cloister::metrics {

class Counter {
 public:
  static constexpr Type kType = Type::counter;
  void add(std::uint64_t n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }
  void write(TextWriter& out, const std::string& name, std::span<const Label> labels) const;

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

class Gauge {
 public:
  static constexpr Type kType = Type::gauge;
  void add(std::int64_t n) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }
  void write(TextWriter& out, const std::string& name, std::span<const Label> labels) const;

 private:
  std::atomic<std::int64_t> value_ = 0;
};

/// Counts one of a thing for as long as it is there. The gauge outlives it.
class Presence {
 public:
  explicit Presence(Gauge& gauge) noexcept : gauge_{gauge} { gauge_.add(1); }
  ~Presence() { gauge_.add(-1); }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

 private:
  Gauge& gauge_;
};

/// Durations, in seconds. The buckets are fixed: 1 ms to 10 minutes, wide enough for a request and for a job.
class Histogram {
 public:
  static constexpr Type kType = Type::histogram;
  static constexpr std::array<double, 16> kBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                  0.5,   1,      2.5,   5,    10,    30,   120, 600};
  /// What is below zero (a clock that was set back) counts as zero.
  void observe(double seconds) noexcept;
  void observe(std::chrono::nanoseconds span) noexcept { observe(std::chrono::duration<double>(span).count()); }
  [[nodiscard]] std::uint64_t count() const noexcept;
  void write(TextWriter& out, const std::string& name, std::span<const Label> labels) const;

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets_{};  // each alone, not cumulative
  std::atomic<std::uint64_t> sum_us_ = 0;  // microseconds: a sum of integers does not depend on the order
};

/// Metrics of one name, one for each combination of label values that was seen.
template <class Metric>
class Family {
 public:
  /// Combinations beyond this many share one whose values are all "other": a label never grows without bound.
  static constexpr std::size_t kMaxSeries = 1024;

  /// All literals; the names are asserted when written.
  Family(std::string_view name, std::string_view help, std::initializer_list<std::string_view> labels = {})
      : name_{name}, help_{help}, labels_{labels} {}

  /// As many values as the family has labels (asserted). The metric lives as long as the family.
  [[nodiscard]] Metric& with(std::initializer_list<std::string_view> values);
  [[nodiscard]] Metric& operator*() { return with({}); }
  [[nodiscard]] Metric* operator->() { return &with({}); }

  void write(TextWriter& out) const;

 private:
  std::string name_;
  std::string help_;
  std::vector<std::string_view> labels_;
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::unique_ptr<Metric>> series_;
};

using Counters = Family<Counter>;
using Gauges = Family<Gauge>;
using Histograms = Family<Histogram>;

/// How long something takes, from here on.
class Stopwatch {
 public:
  explicit Stopwatch(const Clock& clock) : clock_{clock}, begin_{clock.steady()} {}
  [[nodiscard]] std::chrono::nanoseconds elapsed() const { return clock_.steady() - begin_; }

 private:
  const Clock& clock_;
  SteadyTime begin_;
};

}  // namespace cloister::metrics
