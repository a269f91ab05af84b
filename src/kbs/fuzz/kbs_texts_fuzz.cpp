// Labels, versions and generators as they come in requests and queries: what is read is within the limits, and reads the same
// once it is written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/kbs/ask.hpp"
#include "cloister/kbs/generator.hpp"
#include "cloister/kbs/labels.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto text = as_text(ByteView{data, size});
  if (const auto labels = kbs::parse_labels(text)) {
    std::string again;
    for (const auto& [name, value] : *labels) again += (again.empty() ? "" : ",") + name + '=' + value;
    const auto reread = kbs::parse_labels(again);
    if (!reread || *reread != *labels || labels->size() > kbs::kMaxLabels || !kbs::check_labels(*labels)) std::abort();
    if (!kbs::carries(*labels, *reread)) std::abort();
  }
  if (const auto version = kbs::parse_version(text); version && (*version == 0 || std::to_string(*version) != text)) std::abort();
  if (const auto generator = kbs::Generator::parse(text)) {
    if (generator->bytes() < kbs::Generator::kMinBytes || generator->bytes() > kbs::Generator::kMaxBytes) std::abort();
    const auto again = kbs::Generator::parse(generator->str());
    if (!again || again->bytes() != generator->bytes()) std::abort();
  }
  return 0;
}
