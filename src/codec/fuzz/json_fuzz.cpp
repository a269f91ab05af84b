// What parses, writes to a text that parses to the same value; every raw span parses to its value again; the canonical form
// is its own.
#include <cstdlib>

#include "cloister/codec/jcs.hpp"

namespace {
using namespace cloister;
using namespace cloister::codec;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_spans(const json::Value& value, std::string_view text, int depth) {
  if (depth > 3) return;
  const auto again = json::parse(value.raw(text));
  require(again.ok() && *again == value);
  if (const auto* items = value.as_array()) {
    for (const auto& item : *items) check_spans(item, text, depth + 1);
  }
  if (const auto* members = value.as_object()) {
    for (const auto& member : *members) {
      require(value.find(member.first) == &member.second);
      check_spans(member.second, text, depth + 1);
    }
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text(ByteView{data, size});
  const auto value = json::parse(text, {.bytes = 1U << 16, .depth = 16, .values = 1000});
  if (!value) return 0;
  const auto compact = json::parse(json::write(*value));
  require(compact.ok() && *compact == *value);
  const auto pretty = json::parse(json::write_pretty(*value));
  require(pretty.ok() && *pretty == *value);
  check_spans(*value, text, 0);
  if (const auto canonical = json::canonical(*value)) {
    const auto again = json::parse(*canonical);
    require(again.ok());
    // An integer beyond 2^53 comes back as the digits of its double, which may be another one's.
    const auto twice = json::canonical(*again);
    require(!twice.ok() || *twice == *canonical);
  }
  return 0;
}
