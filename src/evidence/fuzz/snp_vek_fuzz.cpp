// Input: extensions of the VEK's arc, each its number below the arc (one or two bytes, a length before them), the length
// of its value, the value. What parses, is the same after it was written in either form.
#include "check.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/der.hpp"
#include "cloister/evidence/snp/vek.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Bytes arc = codec::der::oid(kVekExtensionArc);
  std::vector<crypto::x509::Extension> extensions;
  codec::Reader in{ByteView{data, size}};
  while (!in.at_end() && extensions.size() < 32) {
    const auto below_size = in.u8();
    const auto below = below_size ? in.take(*below_size) : std::nullopt;
    const auto value_size = in.u8();
    const auto value = value_size ? in.take(*value_size) : std::nullopt;
    if (!below || !value) break;
    auto oid = arc;
    append(oid, *below);
    extensions.push_back({std::move(oid), false, to_bytes(*value)});
  }
  const auto extension = parse_vek_extension(extensions);
  if (!extension) return 0;
  for (const auto form : {HwidForm::raw, HwidForm::octet_string}) {
    const auto again = parse_vek_extension(encode_vek_extension(*extension, form));
    require(again.ok() && *again == *extension);
  }
  return 0;
}
