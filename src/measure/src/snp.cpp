#include "cloister/measure/snp.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"

namespace cloister::measure {
namespace {

constexpr std::uint8_t kPageInfoSize = 0x70;

}  // namespace

void SnpLaunchDigest::update(SnpPageType type, std::uint64_t gpa, ByteView contents, const SnpVmplPermissions& permissions) {
  CLOISTER_ASSERT(gpa % kSnpPageSize == 0);
  CLOISTER_ASSERT(!contents_measured(type) || contents.size() == kSnpPageSize);
  ByteArray<kPageInfoSize> info{};  // byte 0x63 is IMI_PAGE, 0x64 reserved
  std::ranges::copy(value_, info.begin());
  if (contents_measured(type)) std::ranges::copy(crypto::sha384(contents), info.begin() + 0x30);
  info[0x60] = kPageInfoSize;
  info[0x62] = static_cast<std::uint8_t>(type);
  info[0x65] = permissions.vmpl1;
  info[0x66] = permissions.vmpl2;
  info[0x67] = permissions.vmpl3;
  for (std::size_t i = 0; i < 8; ++i) info[0x68 + i] = static_cast<std::uint8_t>(gpa >> (8 * i));
  value_ = crypto::sha384(info);
}

void SnpLaunchDigest::update_pages(SnpPageType type, std::uint64_t gpa, ByteView contents) {
  CLOISTER_ASSERT(contents.size() % kSnpPageSize == 0);
  for (std::size_t at = 0; at < contents.size(); at += kSnpPageSize) update(type, gpa + at, contents.subspan(at, kSnpPageSize));
}

}  // namespace cloister::measure
