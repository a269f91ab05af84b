#include "guid_table.hpp"

#include <algorithm>
#include <string>

#include "cloister/codec/cursor.hpp"

namespace cloister::measure {
namespace {

// 96b582de-1fb2-45f7-baea-a366c55a082d: the entry that ends the table, and holds its length
constexpr Guid kTableFooter{0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d};
constexpr std::size_t kTableEnd = 32;          // before the end of the file
constexpr std::size_t kEntryTrailer = 2 + 16;  // each entry ends with its length (u16) and its GUID

Error bad(std::string detail) { return Error{Errc::malformed, "firmware: " + std::move(detail)}; }

}  // namespace

Result<GuidTable> GuidTable::parse(ByteView firmware) {
  if (firmware.size() < kTableEnd + kEntryTrailer) return bad("file too short for a GUIDed table");
  const auto before = firmware.first(firmware.size() - kTableEnd);
  codec::Reader footer{before.last(kEntryTrailer)};
  const std::size_t table_size = *footer.u16le();
  if (*footer.array<16>() != kTableFooter) return bad("no GUIDed table 32 bytes before the end");
  if (table_size < kEntryTrailer || table_size > before.size()) return bad("table length outside the file");
  GuidTable out;
  auto table = before.last(table_size).first(table_size - kEntryTrailer);
  while (!table.empty()) {
    if (table.size() < kEntryTrailer) return bad("table entry with a bad length");
    codec::Reader trailer{table.last(kEntryTrailer)};
    const std::size_t size = *trailer.u16le();
    const auto guid = *trailer.array<16>();
    if (size < kEntryTrailer || size > table.size()) return bad("table entry with a bad length");
    if (out.find(guid)) return bad("table entry that is there twice");
    out.entries_.push_back({guid, table.last(size).first(size - kEntryTrailer)});
    table = table.first(table.size() - size);
  }
  return out;
}

std::optional<ByteView> GuidTable::find(const Guid& guid) const {
  const auto found = std::ranges::find(entries_, guid, &Entry::guid);
  return found == entries_.end() ? std::nullopt : std::optional{found->data};
}

}  // namespace cloister::measure
