// A request that is read is written as one that is read alike; so is a path.
#include "cloister/rcar/messages.hpp"
#include "cloister/rcar/resource.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text({data, size});
  if (const auto request = rcar::parse_request(text)) {
    CLOISTER_ASSERT(request->version.starts_with("0.4."));
    const auto again = rcar::parse_request(rcar::write(*request));
    CLOISTER_ASSERT(again.ok() && *again == *request);
  }
  if (const auto path = rcar::ResourcePath::parse(text)) CLOISTER_ASSERT(path->str() == text);
  return 0;
}
