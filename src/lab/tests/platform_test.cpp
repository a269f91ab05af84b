#include "cloister/lab/platform.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/evidence/quote.hpp"

namespace cloister::lab {
namespace {

using crypto::x509::CertificatePtr;

crypto::Secret<32> seed(std::uint8_t first = 1) { return crypto::Secret<32>{ByteArray<32>{first}}; }
const UnixTime kCreated = from_civil(2026, 3, 1, 12, 0, 0).value();
const UnixTime kNow = kCreated + std::chrono::days{10};

CertificatePtr parse(ByteView der) { return crypto::x509::parse_certificate(der).value(); }
std::vector<CertificatePtr> chain(std::string_view pem) { return crypto::x509::parse_chain(pem).value(); }

class PlatformTest : public ::testing::Test {
 protected:
  Bytes program_ = Bytes(5000, 0x33);
  std::vector<measure::TdFile> files_{{"cloister-guest", 0755, program_}};

  [[nodiscard]] tdx::TdReportBytes report(const Platform& platform) const {
    Digest64 data;
    data.fill(0x64);
    return *platform.launch({}, files_).value().tdg_mr_report(data);
  }
  [[nodiscard]] evidence::Quote quote(const Platform& platform, QuoteFormat format = QuoteFormat::v4) const {
    return evidence::parse_quote(platform.quote(report(platform), format).value()).value();
  }
};

TEST_F(PlatformTest, SameSeedAndTimeGiveTheSameSignedContents) {
  const auto a = Platform::create(seed(), kCreated);
  const auto b = Platform::create(seed(), kCreated);
  EXPECT_EQ(parse(a.root())->tbs, parse(b.root())->tbs);
  const auto chain_a = chain(a.pck_chain());
  const auto chain_b = chain(b.pck_chain());
  ASSERT_EQ(chain_a.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(chain_a[i]->tbs, chain_b[i]->tbs);
  const auto collateral_a = a.collateral(kNow);
  const auto collateral_b = b.collateral(kNow);
  EXPECT_EQ(collateral_a.tcb_info, collateral_b.tcb_info);
  EXPECT_EQ(collateral_a.qe_identity, collateral_b.qe_identity);
  EXPECT_EQ(crypto::x509::parse_crl(collateral_a.pck_crl).value().tbs, crypto::x509::parse_crl(collateral_b.pck_crl).value().tbs);
  EXPECT_EQ(report(a), report(b));
  const auto quote_a = quote(a);
  const auto quote_b = quote(b);
  EXPECT_TRUE(same_bytes(quote_a.signed_bytes(), quote_b.signed_bytes()));
  EXPECT_TRUE(same_bytes(quote_a.qe_report_bytes(), quote_b.qe_report_bytes()));
  EXPECT_EQ(quote_a.signature().attestation_key, quote_b.signature().attestation_key);
}

TEST_F(PlatformTest, AnotherSeedSharesNothing) {
  const auto a = Platform::create(seed(1), kCreated);
  const auto b = Platform::create(seed(2), kCreated);
  EXPECT_NE(parse(a.root())->public_key_info, parse(b.root())->public_key_info);
  EXPECT_NE(a.pck_certificate()->public_key_info, b.pck_certificate()->public_key_info);
  EXPECT_NE(a.fmspc(), b.fmspc());
  EXPECT_NE(quote(a).signature().attestation_key, quote(b).signature().attestation_key);
  EXPECT_EQ(b.report_key().verify(report(a)).code(), tdx::Code::invalid_reportmacstruct);
}

TEST_F(PlatformTest, FractionsOfASecondDoNotCount) {
  const auto a = Platform::create(seed(), kCreated + std::chrono::microseconds{999'999});
  EXPECT_EQ(parse(a.root())->not_before, kCreated);
}

TEST_F(PlatformTest, OpensAgainWithItsRoot) {
  const auto a = Platform::create(seed(), kCreated);
  const auto b = Platform::open(seed(), a.root());
  ASSERT_TRUE(b.ok()) << b.error().text();
  EXPECT_EQ(b->root(), a.root());
  EXPECT_EQ(b->pck_certificate()->tbs, a.pck_certificate()->tbs);
  EXPECT_EQ(b->collateral(kNow).tcb_info, a.collateral(kNow).tcb_info);
}

TEST_F(PlatformTest, OpensOnlyWithItsOwnRoot) {
  const auto other = Platform::create(seed(2), kCreated);
  EXPECT_EQ(Platform::open(seed(), other.root()).error().code(), Errc::key_invalid);
  EXPECT_EQ(Platform::open(seed(), Bytes(10)).error().code(), Errc::certificate_malformed);
  const auto vendor = Platform::create(seed(), kCreated, {.names = Names::vendor});
  EXPECT_EQ(Platform::open(seed(), vendor.root()).error().code(), Errc::key_invalid);
}

TEST_F(PlatformTest, EveryCertificateSaysThatItIsALabs) {
  for (const auto names : {Names::lab, Names::vendor}) {
    const auto platform = Platform::create(seed(), kCreated, {.names = names});
    const auto collateral = platform.collateral(kNow);
    for (const auto& pem : {platform.pck_chain(), collateral.pck_crl_issuer_chain, collateral.tcb_info_issuer_chain,
                            collateral.qe_identity_issuer_chain}) {
      for (const auto& certificate : chain(pem)) EXPECT_TRUE(evidence::has_lab_marker(*certificate)) << pem;
    }
    EXPECT_TRUE(evidence::has_lab_marker(*parse(platform.root())));
  }
}

TEST_F(PlatformTest, NamesAreTheLabsOrTheVendors) {
  const auto lab = chain(Platform::create(seed(), kCreated).pck_chain());
  EXPECT_EQ(lab[0]->subject_common_name, "LAB ONLY - NOT HARDWARE SGX PCK Certificate");
  EXPECT_EQ(lab[1]->subject_common_name, "LAB ONLY - NOT HARDWARE SGX PCK Platform CA");
  EXPECT_EQ(lab[2]->subject_common_name, "LAB ONLY - NOT HARDWARE SGX Root CA");
  const auto vendor = chain(Platform::create(seed(), kCreated, {.names = Names::vendor}).pck_chain());
  EXPECT_EQ(vendor[0]->subject_common_name, "Intel SGX PCK Certificate");
  EXPECT_EQ(vendor[2]->subject_common_name, "Intel SGX Root CA");
}

TEST_F(PlatformTest, ChainsAreSignedUpToTheRoot) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto collateral = platform.collateral(kNow);
  const auto pck = chain(platform.pck_chain());
  EXPECT_TRUE(crypto::x509::verify_signature(*pck[0], *pck[1]).ok());
  EXPECT_TRUE(crypto::x509::verify_signature(*pck[1], *pck[2]).ok());
  EXPECT_TRUE(crypto::x509::verify_signature(*pck[2], *pck[2]).ok());
  EXPECT_EQ(pck[2]->der, platform.root());
  EXPECT_TRUE(pck[1]->is_ca.value_or(false));
  EXPECT_FALSE(pck[0]->is_ca.value_or(false));
  const auto signer = chain(collateral.tcb_info_issuer_chain);
  ASSERT_EQ(signer.size(), 2U);
  EXPECT_TRUE(crypto::x509::verify_signature(*signer[0], *signer[1]).ok());
  const auto root_crl = crypto::x509::parse_crl(collateral.root_ca_crl).value();
  const auto pck_crl = crypto::x509::parse_crl(collateral.pck_crl).value();
  EXPECT_TRUE(crypto::x509::verify_signature(root_crl, *pck[2]).ok());
  EXPECT_TRUE(crypto::x509::verify_signature(pck_crl, *pck[1]).ok());
  EXPECT_EQ(pck_crl.issuer, pck[0]->issuer);
}

TEST_F(PlatformTest, DocumentsAreSignedByteForByte) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto collateral = platform.collateral(kNow);
  const auto signer = chain(collateral.tcb_info_issuer_chain)[0];
  const auto& key = std::get<crypto::EcPublicKey>(signer->key);
  EXPECT_TRUE(key.verify(as_bytes(collateral.tcb_info), collateral.tcb_info_signature).ok());
  EXPECT_TRUE(key.verify(as_bytes(collateral.qe_identity), collateral.qe_identity_signature).ok());
}

TEST_F(PlatformTest, CollateralIsIssuedNow) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto documents = evidence::parse_documents(platform.collateral(kNow));
  ASSERT_TRUE(documents.ok()) << documents.error().text();
  EXPECT_EQ(documents->tcb_info.info.issue_date, kNow);
  EXPECT_EQ(documents->tcb_info.info.next_update, kNow + std::chrono::days{30});
  EXPECT_EQ(documents->qe_identity.identity.issue_date, kNow);
  EXPECT_EQ(documents->pck_crl.this_update, kNow);
  EXPECT_EQ(documents->pck_crl.next_update, kNow + std::chrono::days{30});
  EXPECT_EQ(documents->root_ca_crl.next_update, kNow + std::chrono::days{365});
}

TEST_F(PlatformTest, TcbInfoIsForThisMachine) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto info = evidence::parse_tcb_info_body(platform.collateral(kNow).tcb_info).value();
  const auto extension = evidence::pck_extension(*platform.pck_certificate()).value();
  EXPECT_EQ(info.tee, evidence::TeeType::tdx);
  EXPECT_EQ(info.version, 3U);
  EXPECT_EQ(info.fmspc, platform.fmspc());
  EXPECT_EQ(info.fmspc, extension.fmspc);
  EXPECT_EQ(info.pce_id, extension.pce_id);
  ASSERT_EQ(info.tdx_module_identities.size(), 2U);
  EXPECT_EQ(info.tdx_module_identities[0].id, "TDX_01");
  EXPECT_EQ(info.levels, TcbState::current(kCreated).published.levels);
  EXPECT_EQ(extension.components, TcbState::current(kCreated).machine.sgx_components);
  EXPECT_EQ(extension.pce_svn, TcbState::current(kCreated).machine.pcesvn);
}

TEST_F(PlatformTest, TcbStateIsWhatTheCallerSays) {
  auto state = TcbState::current(kCreated);
  state.machine.tee_tcb_svn = {4, 1, 2};
  state.machine.pcesvn = 11;
  state.machine.qe_isvsvn = 3;
  state.published.evaluation_data_number = 18;
  const auto platform = Platform::create(seed(), kCreated, {.tcb = state});
  EXPECT_EQ(evidence::pck_extension(*platform.pck_certificate()).value().pce_svn, 11U);
  const auto made = quote(platform);
  EXPECT_EQ(made.td()->tee_tcb_svn, state.machine.tee_tcb_svn);
  EXPECT_EQ(made.signature().qe_report.isv_svn, 3U);
  EXPECT_EQ(evidence::parse_tcb_info_body(platform.collateral(kNow).tcb_info).value().tcb_evaluation_data_number, 18U);
}

TEST_F(PlatformTest, RevokedCertificatesAreInTheirCrls) {
  const auto serial = Platform::create(seed(), kCreated).pck_certificate()->serial;
  const auto platform = Platform::create(seed(), kCreated, {.revoked_pcks = {{serial, kCreated}}});
  const auto collateral = platform.collateral(kNow);
  EXPECT_TRUE(crypto::x509::parse_crl(collateral.pck_crl).value().revokes(platform.pck_certificate()->serial));
  EXPECT_FALSE(crypto::x509::parse_crl(collateral.root_ca_crl).value().revokes(platform.pck_certificate()->serial));
}

TEST_F(PlatformTest, QuoteRepeatsTheReport) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto td = platform.launch({}, files_).value();
  Digest64 data;
  data.fill(0x64);
  const auto made = evidence::parse_quote(platform.quote(*td.tdg_mr_report(data)).value()).value();
  EXPECT_EQ(made.header().version, 4U);
  EXPECT_EQ(made.header().qe_vendor_id, evidence::kIntelQeVendorId);
  EXPECT_EQ(made.trailing_bytes(), 0U);
  ASSERT_NE(made.td(), nullptr);
  EXPECT_EQ(made.td()->mr_td, td.mrtd());
  EXPECT_EQ(made.td()->rtmr, td.rtmrs());
  EXPECT_EQ(made.td()->report_data, data);
  EXPECT_EQ(made.td()->mr_seam, platform.module().mr_seam);
  EXPECT_FALSE(made.td()->v15.has_value());
}

TEST_F(PlatformTest, QuoteOfVersionFiveHasTheNewerBody) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto made = quote(platform, QuoteFormat::v5);
  EXPECT_EQ(made.header().version, 5U);
  ASSERT_TRUE(made.td()->v15.has_value());
  EXPECT_EQ(made.td()->v15->tee_tcb_svn2, made.td()->tee_tcb_svn);
  EXPECT_EQ(made.td()->v15->mr_service_td, Digest48{});
}

TEST_F(PlatformTest, QuoteHasTheBodyThatWasAskedFor) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto td10 = quote(platform, QuoteFormat::v5_td10);
  EXPECT_EQ(td10.header().version, 5U);
  EXPECT_EQ(evidence::body_type(td10.body()), evidence::BodyType::td10);
  const auto ex = quote(platform, QuoteFormat::v5_td15_ex);
  EXPECT_EQ(evidence::body_type(ex.body()), evidence::BodyType::td15_ex);
  ASSERT_TRUE(ex.td()->v15->ex.has_value());
  EXPECT_EQ(ex.td()->v15->ex->init_tee_tcb_svn, ex.td()->tee_tcb_svn);
  EXPECT_EQ(ex.td()->v15->ex->init_cpu_svn, platform.module().cpu_svn);
}

TEST_F(PlatformTest, QuoteNamesTheServiceTd) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto machine = platform.start();
  const auto service = tdx::launch(machine, {}, files_).value();
  auto& module = machine->module;
  const auto page = [&] { return *machine->take_page(); };
  const auto tdr = page();
  const auto tdvpr = page();
  ASSERT_TRUE(module.tdh_mng_create(tdr, *machine->free_hkid()).ok());
  ASSERT_TRUE(module.tdh_mng_key_config(tdr, 0).ok());
  for (unsigned i = 0; i < tdx::Module::kTdcsPages; ++i) ASSERT_TRUE(module.tdh_mng_addcx(page(), tdr).ok());
  ASSERT_TRUE(module.tdh_mng_init(tdr, {}).ok());
  ASSERT_TRUE(module.tdh_servtd_bind(tdr, service.tdr(), 0, tdx::kServtdMigration, {}).ok());
  ASSERT_TRUE(module.tdh_vp_create(tdvpr, tdr).ok());
  for (unsigned i = 1; i < tdx::Module::kTdvpsPages; ++i) ASSERT_TRUE(module.tdh_vp_addcx(page(), tdvpr).ok());
  ASSERT_TRUE(module.tdh_vp_init(tdvpr).ok());
  ASSERT_TRUE(module.tdh_mr_finalize(tdr).ok());
  ASSERT_TRUE(module.tdh_vp_enter(tdvpr).ok());
  const tdx::Td td{machine, tdr, tdvpr};
  const auto bytes = platform.quote(*td.tdg_mr_report({}), QuoteFormat::v5).value();
  const auto made = evidence::parse_quote(bytes).value();
  EXPECT_NE(made.td()->v15->mr_service_td, Digest48{});
  EXPECT_EQ(made.td()->v15->mr_service_td, module.td(tdr)->servtd_hash);
}

TEST_F(PlatformTest, QuoteIsSignedFromTheTdToThePckCertificate) {
  const auto platform = Platform::create(seed(), kCreated);
  for (const auto format : {QuoteFormat::v4, QuoteFormat::v5, QuoteFormat::v5_td10, QuoteFormat::v5_td15_ex}) {
    const auto made = quote(platform, format);
    const auto& signature = made.signature();
    const auto attestation_key = crypto::EcPublicKey::from_xy(crypto::Curve::p256, signature.attestation_key).value();
    EXPECT_TRUE(attestation_key.verify(made.signed_bytes(), signature.signature).ok());
    const auto& pck = std::get<crypto::EcPublicKey>(platform.pck_certificate()->key);
    EXPECT_TRUE(pck.verify(made.qe_report_bytes(), signature.qe_report_signature).ok());
    const auto binding = crypto::sha256({signature.attestation_key, signature.qe_auth_data});
    const ByteView report_data{signature.qe_report.report_data};
    EXPECT_TRUE(same_bytes(report_data.first(32), binding));
    EXPECT_TRUE(all_zero(report_data.subspan(32)));
    EXPECT_EQ(as_text(signature.certification.data), platform.pck_chain());
  }
}

TEST_F(PlatformTest, QuotingEnclaveFitsItsIdentity) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto identity = evidence::parse_qe_identity_body(platform.collateral(kNow).qe_identity).value();
  const auto made = quote(platform);
  const auto& report = made.signature().qe_report;
  EXPECT_EQ(identity.id, evidence::EnclaveId::td_qe);
  EXPECT_EQ(report.mr_signer, identity.mr_signer);
  EXPECT_EQ(report.isv_prod_id, identity.isv_prod_id);
  EXPECT_EQ(report.misc_select & identity.misc_select_mask, identity.misc_select);
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(report.attributes[i] & identity.attributes_mask[i], identity.attributes[i]) << i;
  }
  EXPECT_EQ(identity.levels.front().isv_svn, report.isv_svn);
}

TEST_F(PlatformTest, QuotesOnlyReportsOfItsOwnUnchanged) {
  const auto platform = Platform::create(seed(), kCreated);
  const auto other = Platform::create(seed(2), kCreated);
  EXPECT_EQ(platform.quote(report(other)).error().code(), Errc::permission_denied);
  auto changed = report(platform);
  changed[512 + 16] ^= 1;  // MRTD
  EXPECT_EQ(platform.quote(changed).error().code(), Errc::permission_denied);
  EXPECT_EQ(platform.quote({}).error().code(), Errc::permission_denied);
}

}  // namespace
}  // namespace cloister::lab
