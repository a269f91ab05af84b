#include <algorithm>
#include <cstdlib>

#include "cloister/collateral/entry.hpp"

/// An answer, written as a key, a status and header fields, each on a line of its own, an empty line, and the body. What
/// is taken from it can be read again from a cache, as it was.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  auto rest = as_text({data, size});
  const auto line = [&rest] {
    const auto end = std::min(rest.find('\n'), rest.size());
    auto out = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (out.ends_with('\r')) out.remove_suffix(1);
    return out;
  };
  const auto key = collateral::parse_key(line());
  if (!key) return 0;
  collateral::Answer answer;
  const auto status = line();
  answer.status = status.starts_with("HTTP/1.1 ") && status.size() > 11
                      ? 100 * (status[9] - '0') + 10 * (status[10] - '0') + (status[11] - '0')
                      : 0;
  for (auto field = line(); !field.empty(); field = line()) {
    const auto colon = std::min(field.find(':'), field.size());
    const auto value = field.substr(std::min(colon + 2, field.size()));
    answer.headers.emplace_back(field.substr(0, colon), value);
  }
  answer.body = to_bytes(rest);
  if (const auto wait = collateral::retry_after(answer, UnixTime{}); wait && wait->count() < 0) std::abort();
  for (const auto version : {collateral::ApiVersion::v3, collateral::ApiVersion::v4}) {
    auto outcome = collateral::interpret(*key, version, answer, false, UnixTime{});
    if (!outcome) continue;
    auto* given = std::get_if<collateral::Given>(&*outcome);
    if (given == nullptr || given->document.key != *key || given->document.expires <= UnixTime{}) std::abort();
    const collateral::Entry entry{std::move(given->document), {}, "fuzz", {}, {}};
    const auto again = collateral::parse_entry(collateral::write_entry(entry));
    if (!again || *again != entry) std::abort();
  }
  return 0;
}
