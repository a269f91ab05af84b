#pragma once

#include <string_view>

#include "cloister/core/result.hpp"
#include "cloister/storage/resources.hpp"

/// Labels of resources, in the form that Kubernetes has for them ("Labels and Selectors", syntax and character set).
namespace cloister::kbs {

using Labels = storage::Resources::Labels;
inline constexpr std::size_t kMaxLabels = 64;

/// Names: up to 63 characters of [A-Za-z0-9_.-] that begin and end with a letter or digit, before them a DNS name of up to 253
/// characters and a slash, if any. Values: nothing, or as names without a prefix. `invalid_argument`, with the label;
/// `limit_exceeded` beyond 64.
[[nodiscard]] Result<void> check_labels(const Labels& labels);
/// "name=value,name=value"; of an empty text none. The errors of `check_labels`; `duplicate_member`.
[[nodiscard]] Result<Labels> parse_labels(std::string_view text);
/// Whether each of `wanted` is among them.
[[nodiscard]] bool carries(const Labels& labels, const Labels& wanted);

}  // namespace cloister::kbs
