#include "cloister/collateral/key.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/collateral/needs.hpp"
#include "cloister/collateral/service.hpp"
#include "support/support.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::collateral {
namespace {

using evidence::TeeType;

std::string hex(std::size_t bytes) { return std::string(2 * bytes, 'a'); }
Key key_of(std::string_view text) { return parse_key(text).value(); }

TEST(Key, IsWrittenAsItIsRead) {
  for (const auto& text : {std::string{"tcb_info/sgx/00906ed50000"}, std::string{"tcb_info/tdx/90c06f000000/early"},
                           std::string{"tcb_info/tdx/90c06f000000/eval-0"}, std::string{"qe_identity/qe"},
                           std::string{"qe_identity/td_qe/eval-17"}, std::string{"qve_identity"}, std::string{"qve_identity/early"},
                           std::string{"pck_crl/platform"}, std::string{"pck_crl/processor"}, std::string{"root_ca_crl"},
                           "vcek/Milan/" + hex(64) + "/bl3-tee0-snp22-ucode213", "vcek/Turin/" + hex(8) + "/fmc1-bl2-tee0-snp3-ucode72",
                           std::string{"amd_chain/vlek/Genoa"}, std::string{"amd_crl/vcek/Turin"}}) {
    const auto key = parse_key(text);
    ASSERT_TRUE(key.ok()) << text;
    EXPECT_EQ(to_string(*key), text);
    EXPECT_TRUE(text.starts_with(kind_of(*key))) << text;
  }
}

TEST(Key, HasOneSpelling) {
  for (const auto& text : {std::string{}, std::string{"tcb_info"}, std::string{"tcb_info/sgx"}, std::string{"tcb_info/snp/00906ed50000"},
                           std::string{"tcb_info/sgx/00906ED50000"}, std::string{"tcb_info/sgx/00906ed500"},
                           std::string{"tcb_info/sgx/00906ed50000/standard"}, std::string{"tcb_info/sgx/00906ed50000/eval-"},
                           std::string{"tcb_info/sgx/00906ed50000/eval-01"}, std::string{"tcb_info/sgx/00906ed50000/eval-4294967296"},
                           std::string{"tcb_info/sgx/00906ed50000/early/early"}, std::string{"qe_identity"}, std::string{"qe_identity/qve"},
                           std::string{"qve_identity/qve"}, std::string{"pck_crl"}, std::string{"pck_crl/root"}, std::string{"root_ca_crl/"},
                           "vcek/Milan/" + hex(8) + "/bl3-tee0-snp22-ucode213", "vcek/Turin/" + hex(64) + "/fmc1-bl2-tee0-snp3-ucode72",
                           "vcek/Turin/" + hex(8) + "/bl2-tee0-snp3-ucode72", "vcek/Milan/" + hex(64) + "/fmc1-bl2-tee0-snp3-ucode72",
                           "vcek/Milan/" + hex(64) + "/bl3-tee0-snp22", "vcek/Milan/" + hex(64) + "/bl3-tee0-snp22-ucode213-x1",
                           "vcek/Milan/" + hex(64) + "/bl3-tee0-snp22-ucode256", "vcek/Milan/" + hex(64) + "/bl03-tee0-snp22-ucode213",
                           "vcek/milan/" + hex(64) + "/bl3-tee0-snp22-ucode213", std::string{"amd_chain/vcek/Rome"},
                           std::string{"amd_crl/ark/Milan"}, std::string{"amd_crl/vcek"}, std::string(1000, 'a')}) {
    const auto key = parse_key(text);
    ASSERT_FALSE(key.ok()) << text;
    EXPECT_EQ(key.error().code(), Errc::invalid_argument);
  }
}

TEST(Key, OfCertificatesIsPermanent) {
  EXPECT_TRUE(is_permanent(key_of("vcek/Turin/" + hex(8) + "/fmc1-bl2-tee0-snp3-ucode72")));
  EXPECT_TRUE(is_permanent(key_of("amd_chain/vcek/Milan")));
  for (const auto* text : {"tcb_info/sgx/00906ed50000", "qe_identity/qe", "pck_crl/platform", "root_ca_crl", "amd_crl/vcek/Milan"}) {
    EXPECT_FALSE(is_permanent(key_of(text))) << text;
  }
}

TEST(SnpTcb, FollowsTheProductsLayout) {
  const ByteArray<8> version{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(snp_tcb(Product::genoa, version), (SnpTcb{std::nullopt, 1, 2, 7, 8}));
  EXPECT_EQ(snp_tcb(Product::turin, version), (SnpTcb{std::uint8_t{1}, 2, 3, 4, 8}));
}

// --- services ---

std::string url_of(const Endpoint& endpoint, std::string_view key) {
  const auto request = request_for(endpoint, key_of(key));
  return request ? request->origin + request->target : std::string{to_string(request.error().code())};
}

TEST(Service, HasIntelsUrls) {
  const auto pcs = intel_pcs();
  const std::string base = "https://api.trustedservices.intel.com";
  EXPECT_EQ(url_of(pcs, "tcb_info/sgx/00906ed50000"), base + "/sgx/certification/v4/tcb?fmspc=00906ed50000");
  EXPECT_EQ(url_of(pcs, "tcb_info/tdx/90c06f000000/early"), base + "/tdx/certification/v4/tcb?fmspc=90c06f000000&update=early");
  EXPECT_EQ(url_of(pcs, "tcb_info/tdx/90c06f000000/eval-17"),
            base + "/tdx/certification/v4/tcb?fmspc=90c06f000000&tcbEvaluationDataNumber=17");
  EXPECT_EQ(url_of(pcs, "qe_identity/qe"), base + "/sgx/certification/v4/qe/identity");
  EXPECT_EQ(url_of(pcs, "qe_identity/td_qe/early"), base + "/tdx/certification/v4/qe/identity?update=early");
  EXPECT_EQ(url_of(pcs, "qve_identity"), base + "/sgx/certification/v4/qve/identity");
  EXPECT_EQ(url_of(pcs, "pck_crl/processor"), base + "/sgx/certification/v4/pckcrl?ca=processor&encoding=der");
  EXPECT_EQ(url_of(pcs, "root_ca_crl"), "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der");
  EXPECT_EQ(url_of(pcs, "amd_chain/vcek/Milan"), "unsupported");
}

TEST(Service, HasACachingServicesUrls) {
  const auto v3 = parse_endpoint(Endpoint::Kind::pcs, "https://pccs.example:8081/sgx/certification/v3/").value();
  EXPECT_EQ(url_of(v3, "root_ca_crl"), "https://pccs.example:8081/sgx/certification/v3/rootcacrl");
  EXPECT_EQ(url_of(v3, "tcb_info/sgx/00906ed50000"), "https://pccs.example:8081/sgx/certification/v3/tcb?fmspc=00906ed50000");
  EXPECT_EQ(url_of(v3, "tcb_info/tdx/90c06f000000"), "unsupported");
  EXPECT_EQ(url_of(v3, "qe_identity/td_qe"), "unsupported");
  const auto mirror = parse_endpoint(Endpoint::Kind::pcs, "http://localhost/mirror").value();
  EXPECT_EQ(url_of(mirror, "root_ca_crl"), "http://localhost/mirror/sgx/certification/v4/rootcacrl");
}

TEST(Service, HasAmdsUrls) {
  const auto kds = amd_kds();
  const std::string base = "https://kdsintf.amd.com";
  EXPECT_EQ(url_of(kds, "vcek/Milan/" + hex(64) + "/bl3-tee0-snp22-ucode213"),
            base + "/vcek/v1/Milan/" + hex(64) + "?blSPL=03&teeSPL=00&snpSPL=22&ucodeSPL=213");
  EXPECT_EQ(url_of(kds, "vcek/Turin/" + hex(8) + "/fmc1-bl2-tee0-snp3-ucode72"),
            base + "/vcek/v1/Turin/" + hex(8) + "?fmcSPL=01&blSPL=02&teeSPL=00&snpSPL=03&ucodeSPL=72");
  EXPECT_EQ(url_of(kds, "amd_chain/vlek/Genoa"), base + "/vlek/v1/Genoa/cert_chain");
  EXPECT_EQ(url_of(kds, "amd_crl/vcek/Milan"), base + "/vcek/v1/Milan/crl");
  EXPECT_EQ(url_of(kds, "root_ca_crl"), "unsupported");
}

TEST(Service, RefusesOtherAddresses) {
  for (const auto* url : {"", "pccs.example", "ftp://pccs.example", "https://", "https:///path", "https://user@pccs.example",
                          "https://pccs.example/?x=1", "https://pccs.example/#x", "https://pccs.example/%41", "https://pccs.example/../x",
                          "https://pccs.example//x", "https://pccs.example/ x", "https://pccs.example/sgx/certification/v5",
                          "https://pccs.example/tdx/certification/v4"}) {
    const auto endpoint = parse_endpoint(Endpoint::Kind::pcs, url);
    ASSERT_FALSE(endpoint.ok()) << url;
    EXPECT_EQ(endpoint.error().code(), Errc::invalid_argument);
  }
}

// --- what evidence needs ---

TEST(KeysOf, AQuoteAreFour) {
  const Wanted tdx{.tee = TeeType::tdx, .fmspc = ByteArray<6>{0x90, 0xC0, 0x6F}, .ca = CaType::platform};
  const auto keys = keys_of(tdx);
  ASSERT_TRUE(keys.ok());
  std::vector<std::string> names;
  for (const auto& key : *keys) names.push_back(to_string(key));
  EXPECT_EQ(names, (std::vector<std::string>{"tcb_info/tdx/90c06f000000", "qe_identity/td_qe", "pck_crl/platform", "root_ca_crl"}));
  const Wanted sgx{.tee = TeeType::sgx, .fmspc = ByteArray<6>{}, .ca = CaType::processor};
  EXPECT_EQ(to_string((*keys_of(sgx, {.early = true, .number = {}}))[1]), "qe_identity/qe/early");
  EXPECT_EQ(keys_of({.tee = TeeType::sgx, .fmspc = {}, .ca = {}}).error().code(), Errc::collateral_missing);
}

Bytes report(std::uint8_t version, std::uint8_t family, std::uint8_t model, std::uint8_t signer = 0) {
  Bytes out(1184, 0);
  out[0] = version;
  out[0x0A] = 2;  // the bit of the guest policy that must be one
  out[0x34] = 1;  // ECDSA P-384 with SHA-384
  out[0x48] = static_cast<std::uint8_t>(signer << 2U);
  out[0x188] = family;
  out[0x189] = model;
  out[0x1A0] = 0xAB;
  return out;
}
std::string refusal(const Bytes& bytes, std::optional<Product> product = {}) {
  const auto keys = keys_of_snp_report(bytes, product);
  return keys ? "none" : std::string{to_string(keys.error().code())};
}

TEST(KeysOf, AnSnpReportAreThreeByItsProduct) {
  const std::vector<std::tuple<std::uint8_t, std::uint8_t, std::string>> products{
      {0x19, 0x01, "Milan"}, {0x19, 0x11, "Genoa"}, {0x19, 0xA0, "Genoa"}, {0x1A, 0x02, "Turin"}};
  for (const auto& [family, model, name] : products) {
    const auto keys = keys_of_snp_report(report(3, family, model), {});
    ASSERT_TRUE(keys.ok()) << name;
    ASSERT_EQ(keys->size(), 3U);
    EXPECT_TRUE(to_string((*keys)[0]).starts_with("vcek/" + name + "/ab00"));
    EXPECT_EQ(to_string((*keys)[1]), "amd_chain/vcek/" + name);
    EXPECT_EQ(to_string((*keys)[2]), "amd_crl/vcek/" + name);
  }
  const auto vlek = keys_of_snp_report(report(3, 0x19, 0x01, 1), {});
  ASSERT_TRUE(vlek.ok());
  EXPECT_EQ(vlek->size(), 2U);
  EXPECT_EQ(to_string((*vlek)[0]), "amd_chain/vlek/Milan");
}

TEST(KeysOf, AnSnpReportRefusesWhatItDoesNotKnow) {
  EXPECT_EQ(refusal(Bytes(1183, 0)), "evidence_malformed");
  auto without_bit = report(3, 0x19, 1);
  without_bit[0x0A] = 0;
  EXPECT_EQ(refusal(without_bit), "evidence_malformed");
  EXPECT_EQ(refusal(report(3, 0x19, 1, 7)), "evidence_unsupported");
  EXPECT_EQ(refusal(report(1, 0x19, 1)), "evidence_unsupported");
  EXPECT_EQ(refusal(report(6, 0x19, 1)), "evidence_unsupported");
  EXPECT_EQ(refusal(report(3, 0x17, 1)), "evidence_unsupported");
  EXPECT_EQ(refusal(report(3, 0x19, 0x20)), "evidence_unsupported");
  EXPECT_EQ(refusal(report(3, 0x19, 1, 2)), "evidence_unsupported");
  EXPECT_EQ(refusal(report(3, 0x19, 1), Product::genoa), "evidence_unsupported");
  EXPECT_EQ(refusal(report(2, 0, 0)), "collateral_missing");
  EXPECT_EQ(refusal(report(2, 0, 0), Product::milan), "none");
  auto masked = report(3, 0x19, 1);
  masked[0x1A0] = 0;
  EXPECT_EQ(refusal(masked), "collateral_missing");
}

std::vector<std::string> missing(const test::SyntheticSnpEvidence& built, const evidence::SnpEndorsements& given) {
  const auto keys = keys_missing(*evidence::parse_snp_report(built.report), given);
  std::vector<std::string> out;
  if (!keys) out.emplace_back(to_string(keys.error().code()));
  for (std::size_t i = 0; keys && i < keys->size(); ++i) out.emplace_back(kind_of((*keys)[i]));
  return out;
}

TEST(KeysMissing, AreThoseOfWhatIsNotGiven) {
  using Kinds = std::vector<std::string>;
  const auto built = test::SyntheticSnp{}.build();
  const auto& all = built.endorsements;
  EXPECT_EQ(missing(built, {}), (Kinds{"vcek", "amd_chain", "amd_crl"}));
  EXPECT_EQ(missing(built, {{all.certificates[0]}, {}}), (Kinds{"amd_chain", "amd_crl"}));
  EXPECT_EQ(missing(built, {{all.certificates[0], built.root}, {}}), (Kinds{"amd_chain", "amd_crl"}));
  EXPECT_EQ(missing(built, {all.certificates, {}}), Kinds{"amd_crl"});
  EXPECT_EQ(missing(built, {{}, all.crls}), (Kinds{"vcek", "amd_chain"}));
  EXPECT_EQ(missing(built, all), Kinds{});
}

TEST(KeysMissing, OfAMaskedChipAreNotItsCertificate) {
  using Kinds = std::vector<std::string>;
  test::SyntheticSnp chip;
  chip.body.chip_id = {};
  const auto built = chip.build();
  EXPECT_EQ(missing(built, {}), Kinds{"collateral_missing"});
  EXPECT_EQ(missing(built, {{built.endorsements.certificates[0]}, {}}), (Kinds{"amd_chain", "amd_crl"}));
}

TEST(KeysMissing, OfALoadedKeyAreNotItsCertificate) {
  using Kinds = std::vector<std::string>;
  const auto built = test::SyntheticSnp{evidence::SnpProduct::milan, evidence::VekKind::vlek}.build();
  EXPECT_EQ(missing(built, {}), (Kinds{"amd_chain", "amd_crl"}));
}

TEST(KeysMissing, TakeTheProductOfTheCertificateWhereTheReportHasNone) {
  using Kinds = std::vector<std::string>;
  const auto built = test::SyntheticSnp{evidence::SnpProduct::milan, evidence::VekKind::vcek, 2}.build();
  EXPECT_EQ(missing(built, {}), Kinds{"collateral_missing"});
  const auto report_v2 = *evidence::parse_snp_report(built.report);
  const auto keys = keys_missing(report_v2, {{built.endorsements.certificates[0]}, {}});
  ASSERT_TRUE(keys.ok()) << keys.error().text();
  EXPECT_EQ(to_string(keys->front()), "amd_chain/vcek/Milan");
}

TEST(KeysOf, RealReportsAreThoseOfTheirCertificates) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto keys = keys_of_snp_report(test::read_file(vectors / "attestation/snp/tav/milan_attestation_report.bin"), Product::milan);
  ASSERT_TRUE(keys.ok()) << keys.error().text();
  EXPECT_TRUE(std::holds_alternative<VcekKey>(keys->front()));
}

}  // namespace
}  // namespace cloister::collateral
