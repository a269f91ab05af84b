// As for TCB Info.
#include "check.hpp"
#include "cloister/evidence/qe_identity.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text({data, size});
  const auto document = parse_qe_identity(text);
  if (!document) return 0;
  require(text.find(document->body) != std::string_view::npos);
  const auto alone = parse_qe_identity_body(document->body);
  require(alone.ok() && *alone == document->identity);
  const auto body = write_qe_identity_body(document->identity);
  const auto again = parse_qe_identity(write_qe_identity(body, document->signature));
  require(again.ok() && again->identity == document->identity && again->body == body);
  return 0;
}
