#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"
#include "verifying.hpp"

/// A real quote with one byte changed: whatever is signed must not be accepted any more.
namespace cloister::attestation {
namespace {

class RealQuote : public testing::Test {
 protected:
  void SetUp() override {
    CLOISTER_VECTORS_OR_SKIP(folder);
    const auto base = folder / "attestation/dcap-cases";
    bytes_ = test::read_file(base / "quotes/tdx__dcap-qvl__tdx_quote");
    const auto bundle = evidence::parse_quote_collateral(test::read_text(base / "bundles/dq-tdx.json"));
    ASSERT_TRUE(bundle.ok());
    bundle_ = *bundle;
    const auto documents = evidence::parse_documents(*bundle);
    ASSERT_TRUE(documents.ok());
    documents_ = *documents;
    quote_.emplace(*evidence::parse_quote(bytes_));
  }

  [[nodiscard]] Outcome verify_at(UnixTime at) const {
    return verify(*quote_, *documents_, TrustAnchors::vendors(), at);
  }

  /// Accepted although something that is signed differs.
  [[nodiscard]] bool accepts_another(const Bytes& bytes) const {
    const auto quote = evidence::parse_quote(bytes);
    if (!quote || !verify(*quote, *documents_, TrustAnchors::vendors(), kTime).evidence) return false;
    auto content = quote->content();
    auto original = quote_->content();
    // Text around the certificates is signed by nobody; the certificates are. The root may be left away.
    const auto all = ders(original);
    const std::vector without_root(all.begin(), all.end() - 1);
    const bool same_chain = ders(content) == all || ders(content) == without_root;
    content.signature.certification = original.signature.certification = {};
    return !(content == original && same_chain);
  }

  static std::vector<Bytes> ders(const evidence::QuoteContent& content) {
    std::vector<Bytes> out;
    const auto blocks = codec::parse_pem(as_text(content.signature.certification.data));
    if (blocks) {
      for (const auto& block : *blocks) out.push_back(block.der);
    }
    return out;
  }

  static inline const UnixTime kTime = *parse_rfc3339("2025-06-20T10:32:27Z");
  Bytes bytes_;
  evidence::QuoteCollateral bundle_;
  std::optional<evidence::CollateralDocuments> documents_;
  std::optional<evidence::Quote> quote_;
};

TEST_F(RealQuote, IsRefusedWithAnyByteOfItChanged) {
  ASSERT_TRUE(verify_at(kTime).evidence.has_value());
  constexpr std::size_t kStride = 5;
  const auto size = quote_->bytes().size();
  std::size_t tried = 0;
  for (std::size_t i = 0; i < size; i += i < evidence::kQuoteHeaderSize ? 1 : kStride) {
    for (const unsigned flip : {0x01U, 0x80U}) {
      auto changed = bytes_;
      changed[i] = static_cast<std::uint8_t>(changed[i] ^ flip);
      EXPECT_FALSE(accepts_another(changed)) << "byte " << i;
      ++tried;
    }
  }
  EXPECT_GT(tried, 1000U);
}

TEST_F(RealQuote, IsRefusedWhenItIsCut) {
  const auto size = quote_->bytes().size();
  for (std::size_t length = 0; length < size; length += 97) {
    const Bytes cut(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(evidence::parse_quote(cut).ok()) << length;
  }
}

TEST_F(RealQuote, IsRefusedOutsideOfTheCollateralsWindow) {
  const auto window = *verify_at(kTime).report.collateral;
  EXPECT_TRUE(verify_at(window.issued).evidence.has_value());
  EXPECT_TRUE(verify_at(window.expires).evidence.has_value());
  EXPECT_FALSE(verify_at(window.issued - std::chrono::seconds{1}).evidence.has_value());
  EXPECT_FALSE(verify_at(window.expires + std::chrono::seconds{1}).evidence.has_value());
}

TEST_F(RealQuote, IsRefusedWithAnyByteOfItsDocumentsChanged) {
  for (auto document : {&evidence::QuoteCollateral::tcb_info, &evidence::QuoteCollateral::qe_identity}) {
    for (std::size_t i = 0; i < (bundle_.*document).size(); i += 7) {
      auto changed = bundle_;
      (changed.*document)[i] ^= 0x01;
      const auto documents = evidence::parse_documents(changed);
      if (!documents) continue;
      EXPECT_FALSE(verify(*quote_, *documents, TrustAnchors::vendors(), kTime).evidence.has_value()) << "byte " << i;
    }
  }
}

TEST_F(RealQuote, IsRefusedWithAnyByteOfACrlChanged) {
  for (auto list : {&evidence::QuoteCollateral::root_ca_crl, &evidence::QuoteCollateral::pck_crl}) {
    for (std::size_t i = 0; i < (bundle_.*list).size(); i += 7) {
      auto changed = bundle_;
      (changed.*list)[i] ^= 0x01;
      const auto documents = evidence::parse_documents(changed);
      if (!documents) continue;
      EXPECT_FALSE(verify(*quote_, *documents, TrustAnchors::vendors(), kTime).evidence.has_value()) << "byte " << i;
    }
  }
}

}  // namespace
}  // namespace cloister::attestation
