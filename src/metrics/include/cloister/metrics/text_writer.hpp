#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cloister::metrics {

/// "[a-zA-Z_:][a-zA-Z0-9_:]*", as the data model of Prometheus has it.
[[nodiscard]] bool valid_metric_name(std::string_view name) noexcept;
/// "[a-zA-Z_][a-zA-Z0-9_]*", not beginning with two underscores.
[[nodiscard]] bool valid_label_name(std::string_view name) noexcept;

enum class Type { counter, gauge, histogram };

/// A name and a value; the name is a literal of ours, the value may be anything.
using Label = std::pair<std::string_view, std::string_view>;

/// Writes the Prometheus text exposition format, version 0.0.4. Not thread-safe.
///
///   writer.family("cloister_jobs", Type::gauge, "Unfinished jobs.");
///   writer.sample("cloister_jobs", {{"state", "queued"}}, 3);
class TextWriter {
 public:
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  /// The HELP and TYPE lines; every family once, before its samples.
  void family(std::string_view name, Type type, std::string_view help);
  void sample(std::string_view name, std::span<const Label> labels, double value);
  void sample(std::string_view name, std::initializer_list<Label> labels, double value) {
    sample(name, std::span{labels.begin(), labels.size()}, value);
  }
  /// A family with one sample and no labels.
  void single(std::string_view name, Type type, std::string_view help, double value);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

}  // namespace cloister::metrics
