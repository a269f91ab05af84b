// What is accepted, has one encoding: every element written again from its tag and contents has the same bytes.
#include <cstdlib>

#include "cloister/codec/der.hpp"

namespace {
using namespace cloister;
using namespace cloister::codec;

void require(bool holds) {
  if (!holds) std::abort();
}

void read_as_its_type(const der::Element& element) {
  der::Reader in{element.whole};
  switch (element.tag) {
    case der::tag::kBoolean: {
      const bool value = in.boolean();
      require(in.failed() || same_bytes(der::boolean(value), element.whole));
      return;
    }
    case der::tag::kInteger: {
      const auto value = in.uint();
      require(in.failed() || same_bytes(der::integer(value), element.whole));
      return;
    }
    case der::tag::kBitString: {
      const auto bits = in.bit_string();
      require(in.failed() || same_bytes(der::bit_string(bits), element.whole));
      return;
    }
    case der::tag::kOid: {
      const auto contents = in.oid();
      if (in.failed()) return;
      const auto dotted = der::oid_text(contents);
      if (dotted.front() != '(') require(same_bytes(der::oid(dotted), contents));
      return;
    }
    case der::tag::kUtcTime: {
      const auto at = in.time();
      require(in.failed() || same_bytes(der::time(at), element.whole));
      return;
    }
    case der::tag::kGeneralizedTime:
      (void)in.time();
      return;
    default:
      return;
  }
}

void walk(der::Reader& in, int depth) {
  while (!in.at_end() && !in.failed()) {
    const auto element = in.any();
    if (in.failed()) return;
    require(same_bytes(der::element(element.tag, element.contents), element.whole));
    read_as_its_type(element);
    if ((element.tag & 0x20U) == 0 || depth == 0) continue;
    der::Reader inner{element.contents};
    walk(inner, depth - 1);
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  der::Reader in{ByteView{data, size}};
  walk(in, 16);
  (void)in.finish();
  return 0;
}
