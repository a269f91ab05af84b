// Evidence in the forms of Trustee's attesters, through the project's verifiers: TDX and SGX quotes of a synthetic platform, SNP
// reports of a synthetic chip. The lab's TDX evidence is in tests/integration.
#include "evidence.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;
using test::SyntheticPlatform;
using test::SyntheticSnp;

constexpr std::string_view kPolicy = R"(package policy
trust_claims := {"hardware": 2, "executables": 3}
extensions := [{"name": "who", "value": input.init_data_claims.who}] if input.init_data_claims)";

verdict::Terms terms(const crypto::x509::CertificatePtr& root, UnixTime at) {
  verdict::Terms out{.anchors = {}, .at = at, .report_data = {}, .policy = {}};
  out.anchors.add(attestation::TrustAnchor::make(root, attestation::AnchorKind::given).value());
  out.rego = appraisal::Policy::compile("p.rego", std::string{kPolicy}).value();
  return out;
}

Digest64 some_data() {
  Digest64 out{};
  for (std::size_t i = 0; i < 48; ++i) out[i] = static_cast<std::uint8_t>(i + 1);
  return out;
}

rcar::MeasuredInitData init_data(std::size_t size) {
  return {Bytes(size, 0xAB), {{"who", "a guest"}}};
}

struct QuoteCase {
  evidence::TeeType tee;
  std::string_view name;
};

class Quotes : public testing::TestWithParam<QuoteCase> {
 protected:
  void SetUp() override {
    if (GetParam().tee == evidence::TeeType::tdx) {
      platform.td().report_data = some_data();
    } else {
      platform.enclave().report_data = some_data();
    }
  }
  [[nodiscard]] Result<Attested> appraise(const std::optional<rcar::MeasuredInitData>& with = std::nullopt,
                                          const Digest64& data = some_data()) const {
    const auto built = platform.build();
    const auto sent = json::write(json::Object{{"quote", codec::to_base64(built.quote)}});
    const auto find = [&](const evidence::Quote&) { return verdict::shared(evidence::parse_documents(built.collateral)); };
    return appraise_tee(GetParam().name, sent, data, with, terms(built.root, SyntheticPlatform::now()), {find, nullptr, false}, {});
  }
  SyntheticPlatform platform{GetParam().tee, GetParam().tee == evidence::TeeType::tdx ? std::uint16_t{4} : std::uint16_t{3}};
};

TEST_P(Quotes, AreVerifiedAndBound) {
  const auto attested = appraise();
  ASSERT_TRUE(attested.ok()) << attested.error().text();
  EXPECT_EQ(attested->attester.status(), token::Tier::affirming);
  EXPECT_FALSE(attested->attester.lab());
  EXPECT_TRUE(attested->init_data.is_null());
  auto other = some_data();
  other[0] ^= 1;
  EXPECT_EQ(appraise(std::nullopt, other).error().code(), Errc::report_data_mismatch);
  other = some_data();
  other[63] ^= 1;
  EXPECT_EQ(appraise(std::nullopt, other).error().code(), Errc::report_data_mismatch);
}

TEST_P(Quotes, HaveInitDataInTheirConfiguration) {
  EXPECT_EQ(appraise(init_data(32)).error().code(), Errc::binding_mismatch);
  const auto is = [&](std::size_t size) {
    if (GetParam().tee == evidence::TeeType::tdx) {
      platform.td().mr_config_id = to_array<48>(rcar::fitted(Bytes(size, 0xAB), 48));
    } else {
      platform.enclave().config_id = to_array<64>(rcar::fitted(Bytes(size, 0xAB), 64));
    }
    return appraise(init_data(size));
  };
  for (const std::size_t size : {32U, 48U, 64U}) {
    const auto attested = is(size);
    ASSERT_TRUE(attested.ok()) << size << attested.error().text();
    EXPECT_TRUE(attested->init_data.as_string()->starts_with("abab"));
    EXPECT_EQ(*attested->init_data_claims.find("who"), json::Value{"a guest"});
  }
  EXPECT_EQ(appraise(init_data(32)).error().code(), Errc::binding_mismatch);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Quotes,
                         testing::Values(QuoteCase{evidence::TeeType::tdx, "tdx"}, QuoteCase{evidence::TeeType::sgx, "sgx"}),
                         [](const auto& one) { return std::string{one.param.name}; });

json::Array list(ByteView bytes) {
  json::Array out;
  for (const auto byte : bytes) out.emplace_back(int{byte});
  return out;
}

/// As the guest components write it, with the certificates that the host gave to the guest.
std::string snp_evidence(const test::SyntheticSnpEvidence& built, bool certificates = true) {
  json::Array chain;
  for (const auto& one : built.endorsements.certificates) chain.emplace_back(json::Object{{"cert_type", "VCEK"}, {"data", list(one->der)}});
  return json::write(json::Object{{"attestation_report", list(built.report)}, {"cert_chain", certificates ? json::Value{chain} : json::Value{}}});
}

class Snp : public testing::Test {
 protected:
  Snp() {
    chip.body.report_data = some_data();
    chip.body.vmpl = 0;
  }
  [[nodiscard]] Result<Attested> appraise(const std::optional<rcar::MeasuredInitData>& with = std::nullopt, bool certificates = true) const {
    const auto built = chip.build();
    return appraise_tee("snp", snp_evidence(built, certificates), some_data(), with, terms(built.root, SyntheticSnp::now()), {}, {});
  }
  SyntheticSnp chip;
};

TEST_F(Snp, ReportsAreVerifiedByTheCertificatesBesideThem) {
  const auto attested = appraise();
  ASSERT_TRUE(attested.ok()) << attested.error().text();
  EXPECT_EQ(attested->attester.status(), token::Tier::affirming);
  EXPECT_FALSE(appraise(std::nullopt, false).ok());
  chip.body.report_data[0] ^= 1;
  EXPECT_EQ(appraise().error().code(), Errc::report_data_mismatch);
}

TEST_F(Snp, AListThatTheGuestBringsIsNotTheNewest) {
  chip.crl.emplace(test::SyntheticSnp{}.crl.value());
  const auto built = chip.build();
  auto evidence = json::parse(snp_evidence(built)).value();
  evidence.set("auxblob", codec::to_base64(evidence::encode_snp_certificate_table(built.endorsements)));
  std::size_t asked = 0;
  const verdict::Sources sources{nullptr,
                                 [&](const evidence::SnpReport&, const evidence::SnpEndorsements& brought) -> Result<evidence::SnpEndorsements> {
                                   ++asked;
                                   EXPECT_FALSE(brought.certificates.empty());
                                   EXPECT_TRUE(brought.crls.empty());
                                   return Error{Errc::collateral_missing, "the newest list"};
                                 },
                                 false};
  const auto attested = appraise_tee("snp", json::write(evidence), some_data(), std::nullopt, terms(built.root, SyntheticSnp::now()), sources, {});
  EXPECT_EQ(asked, 1U);
  EXPECT_FALSE(attested.ok());
}

TEST_F(Snp, ReportsHaveInitDataInTheirHostData) {
  EXPECT_EQ(appraise(init_data(32)).error().code(), Errc::binding_mismatch);
  chip.body.host_data.fill(0xAB);
  EXPECT_TRUE(appraise(init_data(32)).ok());
  EXPECT_TRUE(appraise(init_data(48)).ok());
}

}  // namespace
}  // namespace cloister::kbs
