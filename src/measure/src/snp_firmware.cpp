#include <string>

#include "cloister/codec/cursor.hpp"
#include "cloister/measure/snp_launch.hpp"
#include "guid_table.hpp"

namespace cloister::measure {
namespace {

// 00f771de-1a7e-4fcb-890e-68c77e2fb44e: EIP at which further virtual CPUs begin
constexpr Guid kResetBlock{0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e};
// 7255371f-3a3b-4b04-927b-1da6efa8d454: GPA and size of the room for the hashes of a kernel
constexpr Guid kHashTable{0x1f, 0x37, 0x55, 0x72, 0x3b, 0x3a, 0x04, 0x4b, 0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54};
// dc886566-984a-4798-a75e-5585a7bf67cc: distance of the SEV metadata from the end of the file
constexpr Guid kSevMetadata{0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc};
// a789a612-0597-4c4b-a49f-cbb1fe9d1ddd: offset of the first instruction of an SVSM
constexpr Guid kSvsmInfo{0x12, 0xa6, 0x89, 0xa7, 0x97, 0x05, 0x4b, 0x4c, 0xa4, 0x9f, 0xcb, 0xb1, 0xfe, 0x9d, 0x1d, 0xdd};

constexpr std::size_t kMetadataHeader = 16;
constexpr std::size_t kMetadataEntry = 12;
constexpr std::uint32_t kMetadataVersion = 1;
constexpr std::uint32_t kHashTableSize = 176;
constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;

Error bad(std::string detail) { return Error{Errc::malformed, "SEV firmware: " + std::move(detail)}; }

/// An entry that is one number.
Result<std::optional<std::uint32_t>> number(const GuidTable& table, const Guid& guid, std::string_view name) {
  const auto entry = table.find(guid);
  if (!entry) return std::optional<std::uint32_t>{};
  codec::Reader in{*entry};
  const auto value = in.u32le();
  if (!value || !in.at_end()) return bad("entry of the " + std::string{name} + ": 4 bytes expected");
  return value;
}

Result<std::optional<std::uint32_t>> kernel_hashes_gpa(const GuidTable& table) {
  const auto entry = table.find(kHashTable);
  if (!entry) return std::optional<std::uint32_t>{};
  codec::Reader in{*entry};
  const auto gpa = in.u32le();
  const auto size = in.u32le();
  if (!size || !in.at_end()) return bad("entry of the kernel's hashes: 8 bytes expected");
  if (*gpa == 0) return std::optional<std::uint32_t>{};  // so says firmware that takes none
  if (*size < kHashTableSize || *gpa % kSnpPageSize > kSnpPageSize - kHashTableSize) return bad("no room for the kernel's hashes");
  return gpa;
}

Result<SnpSection> read_section(codec::Reader& in) {
  SnpSection section;
  section.gpa = in.u32le().value();
  section.size = in.u32le().value();
  const auto type = in.u32le().value();
  section.type = static_cast<SnpSectionType>(type);
  if (section.gpa % kSnpPageSize != 0 || section.size % kSnpPageSize != 0 || section.size == 0) return bad("section not in whole pages");
  if (section.size > kMaxSnpFirmwareSize) return bad("section larger than a firmware may be");
  if (section.gpa > kFourGiB - section.size) return bad("section beyond 4 GiB");
  switch (section.type) {
    case SnpSectionType::memory:
    case SnpSectionType::svsm_calling_area: return section;
    case SnpSectionType::secrets:
    case SnpSectionType::cpuid:
    case SnpSectionType::kernel_hashes:
      if (section.size != kSnpPageSize) return bad("section of type " + std::to_string(type) + ": one page expected");
      return section;
  }
  return Error{Errc::unsupported, "SEV firmware: section of type " + std::to_string(type)};
}

/// Signature "ASEV", length, version, count, then the sections.
Result<std::vector<SnpSection>> read_sections(ByteView firmware, std::uint32_t distance) {
  if (distance > firmware.size() || distance < kMetadataHeader) return bad("metadata outside the file");
  codec::Reader in{firmware.last(distance)};
  const auto signature = in.take(4).value();
  const auto length = in.u32le().value();
  const auto version = in.u32le().value();
  const auto count = in.u32le().value();
  if (!same_bytes(signature, as_bytes("ASEV"))) return bad("metadata without its signature");
  if (version != kMetadataVersion) return bad("metadata version 1 expected, got " + std::to_string(version));
  if (count > kMaxSnpSections) return Error{Errc::limit_exceeded, "SEV firmware: more than 64 sections"};
  if (length != kMetadataHeader + count * kMetadataEntry || length > distance) return bad("metadata length disagrees with its sections");
  std::vector<SnpSection> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    CLOISTER_TRY(section, read_section(in));
    out.push_back(section);
  }
  return out;
}

}  // namespace

Result<SnpFirmware> parse_snp_firmware(ByteView firmware) {
  if (firmware.size() > kMaxSnpFirmwareSize) return Error{Errc::limit_exceeded, "SEV firmware: larger than 64 MiB"};
  CLOISTER_TRY(table, GuidTable::parse(firmware));
  SnpFirmware out;
  CLOISTER_TRY(hashes, kernel_hashes_gpa(table));
  CLOISTER_TRY(reset, number(table, kResetBlock, "reset block"));
  CLOISTER_TRY(entry, number(table, kSvsmInfo, "SVSM"));
  CLOISTER_TRY(distance, number(table, kSevMetadata, "SEV metadata"));
  out.kernel_hashes_gpa = hashes;
  out.reset_eip = reset;
  out.svsm_entry = entry;
  if (distance) {
    CLOISTER_TRY(sections, read_sections(firmware, *distance));
    out.sections = std::move(sections);
  }
  return out;
}

}  // namespace cloister::measure
