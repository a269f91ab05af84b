#include "cloister/metrics/families.hpp"

#include <algorithm>
#include <cmath>

#include "cloister/core/assert.hpp"

namespace cloister::metrics {
namespace {

constexpr std::string_view kOther = "other";
constexpr double kMicro = 1e6;
constexpr double kMaxSeconds = 1e12;  // beyond any clock, and below where microseconds overflow

/// A bound as the format writes it.
std::string bound_text(double bound) {
  TextWriter out;
  out.sample("", std::span<const Label>{}, bound);
  return out.text().substr(1, out.text().size() - 2);
}

}  // namespace

void Counter::write(TextWriter& out, const std::string& name, std::span<const Label> labels) const {
  out.sample(name, labels, static_cast<double>(value()));
}

void Gauge::write(TextWriter& out, const std::string& name, std::span<const Label> labels) const {
  out.sample(name, labels, static_cast<double>(value()));
}

void Histogram::observe(double seconds) noexcept {
  const double span = seconds > 0 ? std::min(seconds, kMaxSeconds) : 0;
  const auto bucket = std::ranges::lower_bound(kBounds, span) - kBounds.begin();
  buckets_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_us_.fetch_add(static_cast<std::uint64_t>(std::llround(span * kMicro)), std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const noexcept {
  std::uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

void Histogram::write(TextWriter& out, const std::string& name, std::span<const Label> labels) const {
  std::vector<Label> with_bound(labels.begin(), labels.end());
  with_bound.emplace_back("le", "");
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    total += buckets_[i].load(std::memory_order_relaxed);
    const std::string bound = i < kBounds.size() ? bound_text(kBounds[i]) : "+Inf";
    with_bound.back().second = bound;
    out.sample(name + "_bucket", with_bound, static_cast<double>(total));
  }
  out.sample(name + "_sum", labels, static_cast<double>(sum_us_.load(std::memory_order_relaxed)) / kMicro);
  out.sample(name + "_count", labels, static_cast<double>(total));
}

template <class Metric>
Metric& Family<Metric>::with(std::initializer_list<std::string_view> values) {
  CLOISTER_ASSERT(values.size() == labels_.size());
  std::vector<std::string> key(values.begin(), values.end());
  const std::lock_guard held{mutex_};
  auto found = series_.find(key);
  if (found == series_.end()) {
    if (series_.size() >= kMaxSeries) key.assign(labels_.size(), std::string{kOther});
    found = series_.try_emplace(std::move(key), nullptr).first;
    if (!found->second) found->second = std::make_unique<Metric>();
  }
  return *found->second;
}

template <class Metric>
void Family<Metric>::write(TextWriter& out) const {
  out.family(name_, Metric::kType, help_);
  const std::lock_guard held{mutex_};
  for (const auto& [values, metric] : series_) {
    std::vector<Label> labels;
    for (std::size_t i = 0; i < values.size(); ++i) labels.emplace_back(labels_[i], values[i]);
    metric->write(out, name_, labels);
  }
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

}  // namespace cloister::metrics
