#include "cloister/measure/snp.hpp"

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::measure {
namespace {

constexpr std::uint16_t kPageInfoSize = 0x70;

}  // namespace

void SnpLaunchDigest::update(SnpPageType type, std::uint64_t gpa, ByteView contents, const SnpVmplPermissions& permissions) {
  CLOISTER_ASSERT(gpa % kSnpPageSize == 0);
  CLOISTER_ASSERT(!contents_measured(type) || contents.size() == kSnpPageSize);
  codec::Writer info;
  info.raw(value_);
  info.raw(contents_measured(type) ? crypto::sha384(contents) : Digest48{});
  info.u16le(kPageInfoSize);
  info.u8(static_cast<std::uint8_t>(type));
  info.u8(0);  // IMI_PAGE
  info.u8(0);  // reserved
  info.u8(permissions.vmpl1);
  info.u8(permissions.vmpl2);
  info.u8(permissions.vmpl3);
  info.u64le(gpa);
  CLOISTER_ASSERT(info.size() == kPageInfoSize);
  value_ = crypto::sha384(info.bytes());
}

void SnpLaunchDigest::update_pages(SnpPageType type, std::uint64_t gpa, ByteView contents) {
  CLOISTER_ASSERT(contents.size() % kSnpPageSize == 0);
  for (std::size_t at = 0; at < contents.size(); at += kSnpPageSize) update(type, gpa + at, contents.subspan(at, kSnpPageSize));
}

}  // namespace cloister::measure
