// An envelope that parses has its body inside it, and the body parses alone to the same; what is written parses to the
// same whenever its dates can be written.
#include "check.hpp"
#include "cloister/evidence/tcb_info.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text({data, size});
  const auto document = parse_tcb_info(text);
  if (!document) return 0;
  require(text.find(document->body) != std::string_view::npos);
  const auto alone = parse_tcb_info_body(document->body);
  require(alone.ok() && *alone == document->info);
  const auto body = write_tcb_info_body(document->info);
  const auto again = parse_tcb_info(write_tcb_info(body, document->signature));
  require(again.ok() && again->info == document->info && again->body == body && again->signature == document->signature);
  return 0;
}
