#include "cloister/measure/tdx.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "cloister/codec/cursor.hpp"
#include "guid_table.hpp"

namespace cloister::measure {
namespace {

constexpr std::size_t kBlockSize = 128;  // the module hashes whole SHA-384 blocks

/// The block that names an operation and an address: the name, zeros to 16, the address, zeros.
void put_block(std::span<std::uint8_t> block, std::string_view operation, std::uint64_t gpa) {
  std::ranges::fill(block, std::uint8_t{0});
  std::ranges::copy(as_bytes(operation), block.begin());
  for (std::size_t i = 0; i < 8; ++i) block[16 + i] = static_cast<std::uint8_t>(gpa >> (8 * i));
}

// --- the TDVF image: OVMF's GUIDed table, then the descriptor that it points to ---

// e47a6535-984a-4798-865e-4685a7bf8ec2: where the TDVF descriptor is
constexpr Guid kTdxMetadata{0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47,
                            0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2};
constexpr std::size_t kDescriptorHeader = 16;
constexpr std::size_t kSectionSize = 32;
constexpr std::uint32_t kDescriptorVersion = 1;

Error bad(std::string detail) { return Error{Errc::malformed, "TDVF: " + std::move(detail)}; }

/// The descriptor, from its signature on. The table entry gives its distance from the end of the file.
Result<ByteView> find_descriptor(ByteView firmware) {
  CLOISTER_TRY(table, GuidTable::parse(firmware));
  const auto entry = table.find(kTdxMetadata);
  if (!entry) return bad("the table has no TDX metadata entry");
  codec::Reader reader{*entry};
  const auto distance = reader.u32le();
  if (!distance || !reader.at_end()) return bad("metadata entry of 4 bytes expected");
  if (*distance > firmware.size() || *distance < kDescriptorHeader) return bad("descriptor outside the file");
  return firmware.last(*distance);
}

Result<void> check_section(const TdvfSection& section, std::size_t firmware_size) {
  const auto page_aligned = [](std::uint64_t value) { return value % kTdPageSize == 0; };
  if (!page_aligned(section.gpa) || !page_aligned(section.memory_size)) return bad("section not in whole pages");
  if (section.memory_size > kMaxFirmwareSize) return bad("section larger than a firmware may be");
  if (section.gpa > std::numeric_limits<std::uint64_t>::max() - section.memory_size) return bad("section wraps around");
  if (section.data_size > section.memory_size) return bad("section with more data than memory");
  if (section.data_offset > firmware_size || section.data_size > firmware_size - section.data_offset) {
    return bad("section outside the file");
  }
  return {};
}

/// The pages of a section as they stand in memory: data from the file, then zeros.
class SectionPages {
 public:
  SectionPages(ByteView firmware, const TdvfSection& section)
      : data_{firmware.subspan(section.data_offset, section.data_size)}, gpa_{section.gpa} {}
  TdPage at(std::uint64_t gpa) {
    const auto offset = std::min<std::size_t>(static_cast<std::size_t>(gpa - gpa_), data_.size());
    const auto part = data_.subspan(offset, std::min(kTdPageSize, data_.size() - offset));
    std::ranges::copy(part, page_.begin());
    std::fill(page_.begin() + static_cast<std::ptrdiff_t>(part.size()), page_.end(), std::uint8_t{0});
    return page_;
  }

 private:
  ByteView data_;
  std::uint64_t gpa_;
  ByteArray<kTdPageSize> page_{};
};

void extend_page(TdMeasurement& measurement, std::uint64_t gpa, TdPage page) {
  for (std::size_t offset = 0; offset < kTdPageSize; offset += kTdChunkSize) {
    measurement.extend(gpa + offset, TdChunk{page.subspan(offset).first<kTdChunkSize>()});
  }
}

void measure_section(TdMeasurement& measurement, ByteView firmware, const TdvfSection& section, TdvfProfile profile) {
  if ((section.attributes & TdvfSection::kPageAug) != 0) return;
  const bool extended = (section.attributes & TdvfSection::kMrExtend) != 0;
  const auto end = section.gpa + section.memory_size;
  SectionPages pages{firmware, section};
  for (auto gpa = section.gpa; gpa < end; gpa += kTdPageSize) {
    measurement.page_add(gpa);
    if (extended && profile == TdvfProfile::single_pass) extend_page(measurement, gpa, pages.at(gpa));
  }
  if (!extended || profile != TdvfProfile::two_pass) return;
  for (auto gpa = section.gpa; gpa < end; gpa += kTdPageSize) extend_page(measurement, gpa, pages.at(gpa));
}

}  // namespace

void TdMeasurement::page_add(std::uint64_t gpa) {
  CLOISTER_ASSERT(gpa % kTdPageSize == 0);
  ByteArray<kBlockSize> block;
  put_block(block, "MEM.PAGE.ADD", gpa);
  hash_.update(block);
}

void TdMeasurement::extend(std::uint64_t gpa, TdChunk chunk) {
  CLOISTER_ASSERT(gpa % kTdChunkSize == 0);
  ByteArray<kBlockSize + kTdChunkSize> blocks;
  put_block(std::span{blocks}.first(kBlockSize), "MR.EXTEND", gpa);
  std::ranges::copy(chunk, blocks.begin() + kBlockSize);
  hash_.update(blocks);
}

void TdMeasurement::add_and_extend(std::uint64_t gpa, TdPage page) {
  page_add(gpa);
  extend_page(*this, gpa, page);
}

Result<TdvfProfile> parse_tdvf_profile(std::string_view text) {
  if (text == "single-pass") return TdvfProfile::single_pass;
  if (text == "two-pass") return TdvfProfile::two_pass;
  return Error{Errc::invalid_argument, "profile: single-pass or two-pass expected, got " + std::string{text}};
}

Result<std::vector<TdvfSection>> tdvf_sections(ByteView firmware) {
  if (firmware.size() > kMaxFirmwareSize) return bad("larger than 64 MiB");
  CLOISTER_TRY(descriptor, find_descriptor(firmware));
  codec::Reader reader{descriptor};
  const auto signature = reader.take(4);
  const auto length = reader.u32le();
  const auto version = reader.u32le();
  const auto count = reader.u32le();
  if (!count || !same_bytes(*signature, as_bytes("TDVF"))) return bad("descriptor without its signature");
  if (*version != kDescriptorVersion) return bad("descriptor version 1 expected, got " + std::to_string(*version));
  if (*count == 0 || *count > kMaxTdvfSections) return bad("1 to 64 sections expected, got " + std::to_string(*count));
  if (*length != kDescriptorHeader + *count * kSectionSize) return bad("descriptor length disagrees with its sections");
  std::vector<TdvfSection> sections;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto entry = reader.take(kSectionSize);
    if (!entry) return bad("descriptor cut short");
    codec::Reader fields{*entry};
    TdvfSection section;
    section.data_offset = *fields.u32le();
    section.data_size = *fields.u32le();
    section.gpa = *fields.u64le();
    section.memory_size = *fields.u64le();
    section.type = *fields.u32le();
    section.attributes = *fields.u32le();
    CLOISTER_CHECK(check_section(section, firmware.size()));
    sections.push_back(section);
  }
  return sections;
}

Result<Digest48> mrtd_of_tdvf(ByteView firmware, TdvfProfile profile) {
  CLOISTER_TRY(sections, tdvf_sections(firmware));
  TdMeasurement measurement;
  for (const auto& section : sections) measure_section(measurement, firmware, section, profile);
  return measurement.finish();
}

}  // namespace cloister::measure
