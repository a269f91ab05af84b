// What is recognised has the shape of its kind, and is recognised again from its raw bytes.
#include "check.hpp"
#include "cloister/evidence/detect.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input{data, size};
  const auto found = detect(input);
  if (!found) return 0;
  if (found->kind == EvidenceKind::unknown) {
    require(same_bytes(found->bytes, input));
    return 0;
  }
  require(kind_of(found->bytes) == found->kind);
  const auto again = detect(found->bytes);
  require(again.ok() && again->kind == found->kind && again->bytes == found->bytes);
  return 0;
}
