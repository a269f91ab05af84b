#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "chain.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"
#include "verifying.hpp"

/// Real evidence of each kind with one byte changed, at every byte that a signature covers or that is a signature:
/// not accepted any more. What a verification does with the same parts every time is shared, so that it takes seconds.
namespace cloister::attestation {
namespace {

namespace x509 = crypto::x509;
using Certificates = std::vector<x509::CertificatePtr>;

constexpr std::array<std::uint8_t, 3> kFlips{0x01, 0x80, 0xFF};

struct Kind {
  const char* name;
  const char* quote;
  const char* bundle;
  const char* time;  // at which it is authentic
};

Certificates with(Certificates chain, std::size_t at, const x509::CertificatePtr& certificate) {
  chain[at] = certificate;
  return chain;
}

class RealEvidence : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    CLOISTER_VECTORS_OR_SKIP(folder);
    const auto base = folder / "attestation/dcap-cases";
    bundle_ = *evidence::parse_quote_collateral(test::read_text(base / "bundles" / GetParam().bundle));
    documents_ = *evidence::parse_documents(bundle_);
    quote_.emplace(*evidence::parse_quote(test::read_file(base / "quotes" / GetParam().quote)));
    now_ = *parse_rfc3339(GetParam().time);
    chain_ = *x509::parse_chain(as_text(quote_->signature().certification.data));
    ASSERT_EQ(chain_.size(), 3U);
    ASSERT_TRUE(accepts(*quote_, *documents_));
  }

  [[nodiscard]] bool accepts(const evidence::Quote& quote, const evidence::CollateralDocuments& documents) const {
    const bool cold = verify(quote, documents, anchors_, now_).evidence.has_value();
    EXPECT_EQ(verify(quote, documents, anchors_, now_, &cache_).evidence.has_value(), cold);
    return cold;
  }
  [[nodiscard]] bool accepts(const evidence::QuoteCollateral& bundle) const {
    const auto documents = evidence::parse_documents(bundle);
    return documents && accepts(*quote_, *documents);
  }
  [[nodiscard]] bool accepts(const Certificates& chain, ChainShape shape) const {
    const bool cold = resolve_chain(chain, shape, anchors_, Errc::pck_chain_invalid, nullptr).ok();
    EXPECT_EQ(resolve_chain(chain, shape, anchors_, Errc::pck_chain_invalid, &cache_.signatures()).ok(), cold);
    return cold;
  }
  [[nodiscard]] bool accepts(const x509::Crl& list, const x509::Certificate& issuer) const {
    constexpr CrlCodes kCodes{Errc::pck_crl_invalid, {Errc::pck_crl_not_yet_valid, Errc::pck_crl_expired}};
    const bool cold = check_crl(list, issuer, now_, kCodes, nullptr).ok();
    EXPECT_EQ(check_crl(list, issuer, now_, kCodes, &cache_.signatures()).ok(), cold);
    return cold;
  }
  /// Nothing that was refused may have been remembered, or have driven out what was.
  void expect_cache_unchanged(std::size_t signatures, std::size_t chains) const {
    EXPECT_EQ(cache_.signatures().size(), signatures);
    EXPECT_EQ(cache_.chains(), chains);
    EXPECT_TRUE(accepts(*quote_, *documents_));
  }

  /// Calls `use` with each byte of `bytes`, from `first` up to `last`, changed in each way; how often.
  template <class Octets, class Use>
  static std::size_t for_each_change(Octets bytes, std::size_t first, std::size_t last, const Use& use) {
    std::size_t tried = 0;
    for (auto at = first; at < last; ++at) {
      const auto original = bytes[at];
      for (const auto flip : kFlips) {
        bytes[at] = static_cast<typename Octets::value_type>(static_cast<std::uint8_t>(original) ^ flip);
        use(bytes, at);
        ++tried;
      }
      bytes[at] = original;
    }
    return tried;
  }

  void expect_chain_refused_when_changed(const Certificates& chain, ChainShape shape) const {
    ASSERT_TRUE(accepts(chain, shape));
    const auto signatures = cache_.signatures().size();
    ASSERT_GE(signatures, chain.size() - 1);  // those of this chain, and what its verification needed
    const auto chains = cache_.chains();
    for (std::size_t i = 0; i < chain.size(); ++i) {
      const auto& der = chain[i]->der;
      for_each_change(der, 0, der.size(), [&](const Bytes& changed, std::size_t at) {
        const auto certificate = x509::parse_certificate(changed);
        EXPECT_FALSE(certificate && accepts(with(chain, i, *certificate), shape)) << "certificate " << i << ", byte " << at;
      });
      for (std::size_t size = 0; size < der.size(); ++size) {
        EXPECT_FALSE(x509::parse_certificate(ByteView{der}.first(size)).ok()) << "certificate " << i << ", " << size;
      }
    }
    expect_cache_unchanged(signatures, chains);
  }

  void expect_list_refused_when_changed(const x509::Crl& list, const x509::Certificate& issuer) const {
    ASSERT_TRUE(accepts(list, issuer));
    const auto signatures = cache_.signatures().size();
    const auto chains = cache_.chains();
    for_each_change(list.der, 0, list.der.size(), [&](const Bytes& changed, std::size_t at) {
      const auto other = x509::parse_crl(changed);
      EXPECT_FALSE(other && accepts(*other, issuer)) << "byte " << at;
    });
    expect_cache_unchanged(signatures, chains);
    for (std::size_t size = 0; size < list.der.size(); ++size) {
      EXPECT_FALSE(x509::parse_crl(ByteView{list.der}.first(size)).ok()) << size;
    }
  }

  /// Every byte by the signature alone, every seventh by the whole verification.
  void expect_document_refused_when_changed(std::string evidence::QuoteCollateral::*body,
                                            ByteArray<64> evidence::QuoteCollateral::*signature,
                                            const x509::Certificate& signer) const {
    const auto& key = std::get<crypto::EcPublicKey>(signer.key);
    const auto& text = bundle_.*body;
    ASSERT_TRUE(key.verify(as_bytes(text), bundle_.*signature).ok());
    for_each_change(text, 0, text.size(), [&](const std::string& changed, std::size_t at) {
      EXPECT_FALSE(key.verify(as_bytes(changed), bundle_.*signature).ok()) << "byte " << at;
      if (at % 7 != 0) return;
      auto bundle = bundle_;
      bundle.*body = changed;
      EXPECT_FALSE(accepts(bundle)) << "byte " << at;
    });
    for_each_change(bundle_.*signature, 0, 64, [&](const ByteArray<64>& changed, std::size_t at) {
      auto bundle = bundle_;
      bundle.*signature = changed;
      EXPECT_FALSE(accepts(bundle)) << "signature, byte " << at;
    });
    for (std::size_t size = 0; size < text.size(); size += 7) {
      auto bundle = bundle_;
      (bundle.*body).resize(size);
      EXPECT_FALSE(evidence::parse_documents(bundle).ok()) << size;
    }
  }

  TrustAnchors anchors_ = TrustAnchors::vendors();
  UnixTime now_;
  test::SeededRandom random_{1};
  mutable VerificationCache cache_{random_};  // has seen what holds before anything is changed
  evidence::QuoteCollateral bundle_;
  std::optional<evidence::CollateralDocuments> documents_;
  std::optional<evidence::Quote> quote_;
  Certificates chain_;
};

TEST_P(RealEvidence, IsRefusedWithAnyByteBeforeTheCertificatesChanged) {
  const auto bytes = to_bytes(quote_->bytes());
  const auto certificates = quote_->signature().certification.data.size();
  const auto tried = for_each_change(bytes, 0, bytes.size() - certificates, [&](const Bytes& changed, std::size_t at) {
    const auto quote = evidence::parse_quote(changed);
    EXPECT_FALSE(quote && accepts(*quote, *documents_)) << "byte " << at;
  });
  EXPECT_GT(tried, 3'000U);
}

/// Text around the certificates is signed by nobody; the certificates are. The root may be left away.
TEST_P(RealEvidence, IsRefusedWithTheTextOfItsCertificatesChangedUnlessTheyStayTheSame) {
  const auto text = std::string{as_text(quote_->signature().certification.data)};
  std::size_t harmless = 0;
  for_each_change(text, 0, text.size(), [&](const std::string& changed, std::size_t at) {
    const auto chain = x509::parse_chain(changed);
    if (!chain || !accepts(*chain, ChainShape::pck)) return;
    ++harmless;
    ASSERT_GE(chain->size(), 2U);
    for (std::size_t i = 0; i < chain->size(); ++i) EXPECT_EQ((*chain)[i]->der, chain_[i]->der) << "byte " << at;
  });
  EXPECT_LT(harmless, text.size());
}

TEST_P(RealEvidence, IsRefusedWithAnyByteOfItsCertificatesChanged) {
  expect_chain_refused_when_changed(chain_, ChainShape::pck);
}

/// The PEM in the quote, by the whole verification: parsed chains are remembered by it. Two of three changes are left out.
TEST_P(RealEvidence, IsNotTakenForTheKnownWithTheTextOfItsCertificatesChanged) {
  const auto& data = quote_->signature().certification.data;
  const auto bytes = to_bytes(quote_->bytes());
  const auto begin = static_cast<std::size_t>(
      std::ranges::search(bytes, data).begin() - bytes.begin());
  ASSERT_EQ(cache_.chains(), 1U);
  // A chain that lost its middle ends in the root all the same, whose own signature is then looked at, and holds.
  ASSERT_NE(anchors_.issuer_of(*chain_.back(), &cache_.signatures()), nullptr);
  const auto signatures = cache_.signatures().size();
  std::set<std::string> harmless;
  for (std::size_t i = 0; i < data.size(); ++i) {
    auto changed = bytes;
    changed[begin + i] = static_cast<std::uint8_t>(changed[begin + i] ^ kFlips[i % kFlips.size()]);
    const auto quote = evidence::parse_quote(changed);
    if (quote && accepts(*quote, *documents_)) harmless.insert(std::string{as_text(quote->signature().certification.data)});
  }
  // Whatever was accepted has the same certificates, and those signatures alone.
  for (const auto& text : harmless) {
    const auto chain = *x509::parse_chain(text);
    for (std::size_t i = 0; i < chain.size(); ++i) EXPECT_EQ(chain[i]->der, chain_[i]->der);
  }
  EXPECT_EQ(cache_.signatures().size(), signatures);
  EXPECT_EQ(cache_.chains(), 1 + harmless.size());
}

TEST_P(RealEvidence, IsRefusedWithAnyByteOfTheSignersCertificatesChanged) {
  expect_chain_refused_when_changed(documents_->tcb_info_issuer_chain, ChainShape::tcb_signing);
  expect_chain_refused_when_changed(documents_->qe_identity_issuer_chain, ChainShape::tcb_signing);
}

TEST_P(RealEvidence, IsRefusedWithAnyByteOfTheTcbInfoChanged) {
  expect_document_refused_when_changed(&evidence::QuoteCollateral::tcb_info, &evidence::QuoteCollateral::tcb_info_signature,
                                       *documents_->tcb_info_issuer_chain.front());
}

TEST_P(RealEvidence, IsRefusedWithAnyByteOfTheQeIdentityChanged) {
  expect_document_refused_when_changed(&evidence::QuoteCollateral::qe_identity,
                                       &evidence::QuoteCollateral::qe_identity_signature,
                                       *documents_->qe_identity_issuer_chain.front());
}

TEST_P(RealEvidence, IsRefusedWithAnyByteOfItsListsChanged) {
  expect_list_refused_when_changed(documents_->root_ca_crl, *chain_[2]);
  expect_list_refused_when_changed(documents_->pck_crl, *chain_[1]);
}

TEST_P(RealEvidence, IsRefusedWhenItIsCut) {
  const auto bytes = quote_->bytes();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(evidence::parse_quote(to_bytes(bytes.first(size))).ok()) << size;
  }
}

TEST_P(RealEvidence, IsRefusedOutsideOfTheCollateralsWindow) {
  const auto verify_at = [&](UnixTime at) { return verify(*quote_, *documents_, anchors_, at); };
  const auto window = *verify_at(now_).report.collateral;
  EXPECT_TRUE(verify_at(window.issued).evidence.has_value());
  EXPECT_TRUE(verify_at(window.expires).evidence.has_value());
  EXPECT_FALSE(verify_at(window.issued - std::chrono::seconds{1}).evidence.has_value());
  EXPECT_FALSE(verify_at(window.expires + std::chrono::seconds{1}).evidence.has_value());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RealEvidence,
    testing::Values(Kind{"sgx_v3", "sgx__dcap-qvl__sgx_quote", "dq-sgx.json", "2025-06-20T10:56:11Z"},
                    Kind{"tdx_v4", "tdx__dcap-qvl__tdx_quote", "dq-tdx.json", "2025-06-20T10:32:27Z"},
                    Kind{"tdx_v5", "tdx__automata-evm__quotes_alibaba_quote_5.dat", "dq-old.json", "2026-02-19T10:58:51Z"}),
    [](const auto& param) { return std::string{param.param.name}; });

}  // namespace
}  // namespace cloister::attestation
