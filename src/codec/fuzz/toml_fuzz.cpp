// What is read is JSON within the limits, and what precedes a document as a comment changes nothing of it.
#include "cloister/codec/toml.hpp"

#include "cloister/core/bytes.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const codec::TomlLimits limits{.bytes = SIZE_MAX, .depth = 8, .values = 1000};
  const std::string text{as_text({data, size})};
  const auto alone = codec::parse_toml(text, limits);
  const auto behind = codec::parse_toml("# \"a.b.[\n" + text, limits);
  CLOISTER_ASSERT(alone.ok() == behind.ok());
  CLOISTER_ASSERT(alone.ok() || alone.error().code() == behind.error().code());
  if (!alone) return 0;
  CLOISTER_ASSERT(*alone == *behind && alone->as_object() != nullptr);
  CLOISTER_ASSERT(codec::json::parse(codec::json::write(*alone), {.bytes = SIZE_MAX, .depth = 9, .values = 1001}).ok());
  return 0;
}
