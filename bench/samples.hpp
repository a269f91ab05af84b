#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cloister/codec/json.hpp"

namespace bench {

/// Durations in microseconds, and what is said of them.
class Samples {
 public:
  void add(std::int64_t us) { all_.push_back(us); }
  void add(const Samples& more) { all_.insert(all_.end(), more.all_.begin(), more.all_.end()); }

  /// `seconds`: how long all of them took together.
  [[nodiscard]] cloister::codec::json::Value report(double seconds) {
    std::ranges::sort(all_);
    return cloister::codec::json::Object{{"count", all_.size()},
                                         {"per_second_milli", static_cast<std::int64_t>(1000.0 * static_cast<double>(all_.size()) / seconds)},
                                         {"p50_us", quantile(0.5)},
                                         {"p99_us", quantile(0.99)},
                                         {"max_us", quantile(1)}};
  }

 private:
  /// Of sorted samples, by the nearest rank.
  [[nodiscard]] std::int64_t quantile(double q) const {
    if (all_.empty()) return 0;
    const auto rank = static_cast<std::size_t>(q * static_cast<double>(all_.size() - 1) + 0.5);
    return all_[rank];
  }
  std::vector<std::int64_t> all_;
};

}  // namespace bench
