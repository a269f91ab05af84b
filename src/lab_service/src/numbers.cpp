#include "numbers.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::lab_service {

std::string hex_number(std::uint64_t value) {
  codec::Writer out;
  out.u64be(value);
  auto text = codec::to_hex(out.bytes());
  text.erase(0, std::min(text.find_first_not_of('0'), text.size() - 1));
  return "0x" + text;
}

}  // namespace cloister::lab_service
