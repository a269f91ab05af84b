// What is accepted, is deterministic: written again from its values, it has the same bytes.
#include <cstdlib>

#include "cloister/codec/cbor.hpp"

namespace {
using namespace cloister;
using namespace cloister::codec;

void require(bool holds) {
  if (!holds) std::abort();
}

/// Copies one item, which `item()` has accepted, by its values. `first` is its first byte.
void copy(cbor::Reader& in, cbor::Writer& out, ByteView whole) {
  const auto begin = in;
  const auto item = in.item();
  require(!in.failed() && !item.empty() && item.size() <= whole.size());
  in = begin;
  switch (item.front() >> 5U) {
    case 0:
      out.uint(in.uint());
      return;
    case 1:
      if (item.size() == 9 && item[1] >= 0x80)
        out.encoded(in.item());  // below the least int64
      else
        out.integer(in.integer());
      return;
    case 2:
      out.bytes(in.bytes());
      return;
    case 3:
      out.text(in.text());
      return;
    case 4: {
      const auto count = in.array_up_to(SIZE_MAX);
      out.array(count);
      for (std::size_t i = 0; i < count; ++i) copy(in, out, item);
      return;
    }
    case 5: {
      const auto count = in.map_up_to(SIZE_MAX);
      out.map(count);
      for (std::size_t i = 0; i < 2 * count; ++i) copy(in, out, item);
      return;
    }
    default:
      if (in.take_null())
        out.null();
      else
        out.boolean(in.boolean());
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes{data, size};
  cbor::Reader in{bytes};
  const auto item = in.item();
  if (!in.finish()) return 0;
  require(same_bytes(item, bytes));
  cbor::Reader again{bytes};
  cbor::Writer out;
  copy(again, out, bytes);
  require(again.finish().ok());
  require(same_bytes(out.take(), bytes));
  return 0;
}
