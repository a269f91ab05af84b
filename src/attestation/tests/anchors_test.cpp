#include <gtest/gtest.h>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "support/support.hpp"
#include "verifying.hpp"

namespace cloister::attestation {
namespace {

using test::SyntheticPlatform;

Errc refusal(const SyntheticPlatform& platform, AnchorKind kind) {
  const auto anchor = TrustAnchor::make(platform.build().root, kind);
  return anchor ? Errc::internal : anchor.error().code();
}

TEST(TrustAnchor, RefusesWhatIsNoRoot) {
  SyntheticPlatform platform;
  platform.root.issuer_key = "somebody";
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::root_untrusted);
  platform = SyntheticPlatform{};
  platform.root.issuer_name = "Somebody";
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::root_untrusted);
  platform = SyntheticPlatform{};
  platform.root.is_ca = false;
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::root_untrusted);
  platform = SyntheticPlatform{};
  platform.root.path_length = 0;
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::root_untrusted);
  platform = SyntheticPlatform{};
  platform.root.key_usage = 0x0200;  // CRLs alone
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::root_untrusted);
  platform = SyntheticPlatform{};
  platform.root.extensions.push_back({codec::der::oid("1.2.3.4"), true, codec::der::null()});
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::root_untrusted);
}

TEST(TrustAnchor, RefusesALabsRootThatIsNotCalledOne) {
  SyntheticPlatform platform;
  platform.make_lab();
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::lab_root_not_trusted);
  EXPECT_EQ(refusal(platform, AnchorKind::intel), Errc::lab_root_not_trusted);
  platform.lab = false;  // the name alone is enough
  EXPECT_EQ(refusal(platform, AnchorKind::given), Errc::lab_root_not_trusted);
  SyntheticPlatform marked;  // and so is the marker
  marked.lab = true;
  EXPECT_EQ(refusal(marked, AnchorKind::given), Errc::lab_root_not_trusted);
}

TEST(TrustAnchor, RefusesALabRootWithoutMarkerOrName) {
  SyntheticPlatform platform;
  EXPECT_EQ(refusal(platform, AnchorKind::lab), Errc::root_untrusted);
  platform.lab = true;
  EXPECT_EQ(refusal(platform, AnchorKind::lab), Errc::root_untrusted);
  platform.make_lab();
  platform.lab = false;
  EXPECT_EQ(refusal(platform, AnchorKind::lab), Errc::root_untrusted);
}

TEST(TrustAnchors, OfTheVendorsAreIntelsRootAndAmdsArks) {
  struct Root {
    AnchorKind kind;
    std::string_view sha256;
  };
  constexpr std::array kRoots = {
      Root{AnchorKind::intel, "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"},
      Root{AnchorKind::amd, "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"},
      Root{AnchorKind::amd, "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"},
      Root{AnchorKind::amd, "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"},
  };
  const auto anchors = TrustAnchors::vendors();
  ASSERT_EQ(anchors.all().size(), kRoots.size());
  for (std::size_t i = 0; i < kRoots.size(); ++i) {
    EXPECT_EQ(anchors.all()[i].kind(), kRoots[i].kind);
    EXPECT_EQ(codec::to_hex(crypto::sha256(anchors.all()[i].root().der)), kRoots[i].sha256);
  }
}

TEST(TrustAnchors, HaveTheRootThatClosesThePublicChains) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  EXPECT_EQ(TrustAnchors::vendors().all()[0].root().der,
            test::read_file(folder / "attestation/tdx/automata-solana/root.der"));
}

TEST(TrustAnchors, KeepTheFirstOfEqualRoots) {
  auto anchors = TrustAnchors::vendors();
  anchors.add(*TrustAnchor::make(anchors.all()[0].shared_root(), AnchorKind::given));
  ASSERT_EQ(anchors.all().size(), TrustAnchors::vendors().all().size());
  EXPECT_EQ(anchors.all()[0].kind(), AnchorKind::intel);
}

}  // namespace
}  // namespace cloister::attestation
