#include <algorithm>
#include <string>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/lab_snp/host.hpp"

namespace cloister::lab_snp {

Bytes small_firmware(std::size_t more) {
  codec::Writer out;
  out.raw(as_bytes("ASEV"));
  for (const std::uint32_t number : {16U + 4 * 12, 1U, 4U, 0x800000U, 0x1000U, 1U, 0x80D000U, 0x1000U, 2U, 0x80E000U, 0x1000U, 3U,
                                     0x810000U, 0x1000U, 0x10U}) {
    out.u32le(number);
  }
  const auto metadata = out.size();
  const auto entry = [&out](std::initializer_list<std::uint32_t> numbers, std::string_view guid) {
    for (const auto number : numbers) out.u32le(number);
    out.u16le(static_cast<std::uint16_t>(18 + 4 * numbers.size()));
    out.raw(codec::from_hex(guid).value());
  };
  entry({0x80B004}, "de71f7007e1acb4f890e68c77e2fb44e");
  entry({0x810C00, 0x400}, "1f3755723b3a044b927b1da6efa8d454");
  entry({static_cast<std::uint32_t>(out.size() + 22 + 18 + 32)}, "666588dc4a989847a75e5585a7bf67cc");
  out.u16le(static_cast<std::uint16_t>(out.size() - metadata + 18));
  out.raw(codec::from_hex("de82b596b21ff745baeaa366c55a082d").value());
  out.zeros(32);
  Bytes pages((more + 1) * kSmallPage);
  for (std::size_t i = 0; i <= more; ++i) {
    const auto text = "LAB ONLY - NOT HARDWARE" + (i < more ? ", page " + std::to_string(i) : std::string{});
    std::ranges::copy(as_bytes(text), pages.begin() + static_cast<std::ptrdiff_t>(i * kSmallPage));
  }
  std::ranges::copy(out.bytes(), pages.end() - static_cast<std::ptrdiff_t>(out.size()));
  return pages;
}

}  // namespace cloister::lab_snp
