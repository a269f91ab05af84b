// What precedes a document as a comment does not change what is said of it.
#include "cloister/codec/toml.hpp"

#include "cloister/core/bytes.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const codec::TomlLimits limits{.bytes = SIZE_MAX, .depth = 8, .marks = 1000};
  const std::string text{as_text({data, size})};
  const auto alone = codec::check_toml(text, limits);
  const auto behind = codec::check_toml("# \"a.b.[\n" + text, limits);
  CLOISTER_ASSERT(alone.ok() == behind.ok());
  CLOISTER_ASSERT(alone.ok() || alone.error().code() == behind.error().code());
  return 0;
}
