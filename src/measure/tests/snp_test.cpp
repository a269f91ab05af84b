#include "cloister/measure/snp.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/text.hpp"

namespace cloister::measure {
namespace {

Digest48 digest_of(SnpPageType type, std::uint64_t gpa, const Bytes& contents, const SnpVmplPermissions& permissions = {}) {
  SnpLaunchDigest digest;
  digest.update(type, gpa, contents, permissions);
  return digest.value();
}

// Known answers that the firmware of a cloud provider is tested with (vectors lab/snp/expected.json, gce-1 and gce-2).
TEST(SnpLaunchDigest, KnownAnswers) {
  Bytes pages(3 * kSnpPageSize);
  const auto mark = to_bytes("LGTMLGTMLGTMLGTM");
  std::ranges::copy(mark, pages.begin());
  std::ranges::copy(mark, pages.end() - 16);
  SnpLaunchDigest normal;
  normal.update_pages(SnpPageType::normal, 0, pages);
  EXPECT_EQ(codec::to_hex(normal.value()),
            "cba1cd767c33b30f96271837dbbae4081a945464a5af397b9b0336b5d8759ee88cc6b62c05d915c4424a9ac5747437d4");
  SnpLaunchDigest zero;
  zero.update_pages(SnpPageType::zero, 0x9000, pages);
  EXPECT_EQ(codec::to_hex(zero.value()),
            "4bfe18477ba370a50329da74b9621e721c4f29663176e08fbcf088a17c1bc45f133898b86d5082acbe202a6e9419808a");
}

TEST(SnpLaunchDigest, EverythingButUnmeasuredContentsCounts) {
  const Bytes page(kSnpPageSize, 1);
  const Bytes other(kSnpPageSize, 2);
  const auto base = digest_of(SnpPageType::normal, 0x1000, page);
  EXPECT_NE(digest_of(SnpPageType::vmsa, 0x1000, page), base);
  EXPECT_NE(digest_of(SnpPageType::normal, 0x2000, page), base);
  EXPECT_NE(digest_of(SnpPageType::normal, 0x1000, other), base);
  EXPECT_NE(digest_of(SnpPageType::normal, 0x1000, page, {.vmpl1 = 1}), base);
  EXPECT_NE(digest_of(SnpPageType::normal, 0x1000, page, {.vmpl2 = 1}), digest_of(SnpPageType::normal, 0x1000, page, {.vmpl3 = 1}));
  for (const auto type : {SnpPageType::zero, SnpPageType::unmeasured, SnpPageType::secrets, SnpPageType::cpuid}) {
    EXPECT_EQ(digest_of(type, 0x1000, page), digest_of(type, 0x1000, other));
    EXPECT_NE(digest_of(type, 0x1000, page), digest_of(type, 0x2000, page));
  }
}

TEST(SnpLaunchDigest, TheOrderOfPagesCounts) {
  const Bytes a(kSnpPageSize, 1);
  const Bytes b(kSnpPageSize, 2);
  SnpLaunchDigest one;
  one.update(SnpPageType::normal, 0, a);
  one.update(SnpPageType::normal, 0x1000, b);
  SnpLaunchDigest two;
  two.update(SnpPageType::normal, 0x1000, b);
  two.update(SnpPageType::normal, 0, a);
  EXPECT_NE(one.value(), two.value());
}

}  // namespace
}  // namespace cloister::measure
