#include <gtest/gtest.h>

#include "cloister/attestation/verify_snp.hpp"
#include "support/support.hpp"

/// Real reports and certificates with one byte changed, each in three ways: nothing of it may be accepted any more.
namespace cloister::attestation {
namespace {

constexpr std::array<std::uint8_t, 3> kFlips = {0x01, 0x80, 0xFF};

struct Files {
  std::string_view name;
  std::string_view report;
  std::vector<std::string_view> certificates;  // PEM or DER
  std::string_view at;
};

class RealSnpReport : public testing::TestWithParam<Files> {
 protected:
  void SetUp() override {
    CLOISTER_VECTORS_OR_SKIP(folder);
    const auto base = folder / "attestation/snp";
    report_ = test::read_file(base / GetParam().report);
    for (const auto path : GetParam().certificates) {
      const auto file = test::read_file(base / path);
      if (auto certificate = crypto::x509::parse_certificate(file)) {
        endorsements_.certificates.push_back(*certificate);
      } else {
        endorsements_.add({*crypto::x509::parse_chain(as_text(file)), {}});
      }
    }
    now_ = *parse_rfc3339(GetParam().at);
  }

  [[nodiscard]] bool accepts(ByteView report, const evidence::SnpEndorsements& endorsements) const {
    const auto parsed = evidence::parse_snp_report(report);
    if (!parsed) return false;
    const bool cold = verify(*parsed, endorsements, TrustAnchors::vendors(), now_).evidence.has_value();
    EXPECT_EQ(verify(*parsed, endorsements, TrustAnchors::vendors(), now_, &cache_).evidence.has_value(), cold);
    return cold;
  }

  void expect_refused_with_changed(std::size_t index);

  Bytes report_;
  evidence::SnpEndorsements endorsements_;
  UnixTime now_;
  test::SeededRandom random_{1};
  mutable VerificationCache cache_{random_};  // has seen what holds before anything is changed
};

TEST_P(RealSnpReport, IsRefusedWithAnyByteOfItChanged) {
  ASSERT_TRUE(accepts(report_, endorsements_));
  for (std::size_t i = 0; i < report_.size(); ++i) {
    for (const auto flip : kFlips) {
      auto changed = report_;
      changed[i] = static_cast<std::uint8_t>(changed[i] ^ flip);
      EXPECT_FALSE(accepts(changed, endorsements_)) << "byte " << i << " ^ " << int{flip};
    }
  }
}

TEST_P(RealSnpReport, IsRefusedWhenItIsCutOrLonger) {
  for (std::size_t length = 0; length < report_.size(); ++length) {
    const Bytes cut(report_.begin(), report_.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(evidence::parse_snp_report(cut).ok()) << length;
  }
  auto longer = report_;
  longer.push_back(0);
  EXPECT_FALSE(evidence::parse_snp_report(longer).ok());
}

/// One of its certificates: VEK, authority, root, and the authority of the other kind of key.
void RealSnpReport::expect_refused_with_changed(std::size_t index) {
  ASSERT_TRUE(accepts(report_, endorsements_));
  ASSERT_EQ(endorsements_.certificates.size(), 4U);
  auto& certificate = endorsements_.certificates[index];
  const auto original = certificate;
  std::size_t parsed = 0;
  for (std::size_t i = 0; i < original->der.size(); ++i) {
    for (const auto flip : kFlips) {
      auto der = original->der;
      der[i] = static_cast<std::uint8_t>(der[i] ^ flip);
      const auto changed = crypto::x509::parse_certificate(der);
      if (!changed) continue;
      ++parsed;
      certificate = *changed;
      EXPECT_FALSE(accepts(report_, endorsements_)) << original->subject_common_name << ", byte " << i << " ^ " << int{flip};
    }
  }
  EXPECT_GT(parsed, 1000U);
}

TEST_P(RealSnpReport, IsRefusedWithAnyByteOfTheVekChanged) { expect_refused_with_changed(0); }
TEST_P(RealSnpReport, IsRefusedWithAnyByteOfTheFirstAuthorityChanged) { expect_refused_with_changed(1); }
TEST_P(RealSnpReport, IsRefusedWithAnyByteOfTheRootChanged) { expect_refused_with_changed(2); }
TEST_P(RealSnpReport, IsRefusedWithAnyByteOfTheSecondAuthorityChanged) { expect_refused_with_changed(3); }

INSTANTIATE_TEST_SUITE_P(Public, RealSnpReport,
                         testing::Values(Files{"genoa_vcek",
                                               "tav/genoa_attestation_report.bin",
                                               {"tav/genoa_vcek.pem", "roots/genoa_ask_ark_asvk.pem"},
                                               "2026-03-01T00:00:00Z"},
                                         Files{"milan_vlek",
                                               "trustee/test-vlek-report.bin",
                                               {"trustee/test-vlek.der", "roots/milan_ask_ark_asvk.pem"},
                                               "2025-06-01T00:00:00Z"}),
                         [](const auto& param) { return std::string{param.param.name}; });

}  // namespace
}  // namespace cloister::attestation
