#include <cstdlib>

#include "cloister/core/bytes.hpp"
#include "cloister/http/target.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

using cloister::http::RangeKind;

/// No segment climbs, and what was decoded decodes again from its encoding.
void check_target(std::string_view text) {
  const auto target = cloister::http::parse_target(text);
  if (!target) return;
  require(!target->segments.empty());
  std::string again;
  for (const auto& segment : target->segments) {
    require(segment != "." && segment != ".." && segment.find_first_of("/\\") == std::string::npos);
    again += '/' + cloister::http::percent_encode(segment);
  }
  char separator = '?';
  for (const auto& [name, value] : target->query.all()) {
    again += separator + cloister::http::percent_encode(name) + '=' + cloister::http::percent_encode(value);
    separator = '&';
  }
  const auto second = cloister::http::parse_target(again);
  require(second.ok() && second->segments == target->segments && second->query.all() == target->query.all());
}

void check_range(std::string_view text, std::uint64_t size) {
  const auto decision = cloister::http::decide_range(text, size);
  if (decision.kind != RangeKind::satisfiable) return;
  require(decision.range.length > 0 && decision.range.offset < size);
  require(decision.range.length <= size - decision.range.offset);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = cloister::as_text({data, size});
  check_target(text);
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, UINT64_MAX}) {
    check_range(text, length);
  }
  return 0;
}
