#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "verifying.hpp"

/// The rarer forms of quotes, chains and documents: accepted as they are, and refused for one thing each.
namespace cloister::attestation {
namespace {

using evidence::CertificationData;
using evidence::CertificationType;
using evidence::TeeType;
using test::SyntheticPlatform;
using Document = evidence::TcbStatus;

void expect_only(const SyntheticPlatform& platform, CheckId check, Errc code) {
  expect_failed(verify_built(platform.build()), {check}, code);
}

// --- bodies ---

SyntheticPlatform with_body(evidence::BodyType type) {
  if (type == evidence::BodyType::sgx) return SyntheticPlatform{TeeType::sgx, 5};
  SyntheticPlatform platform{TeeType::tdx, 5};
  if (type == evidence::BodyType::td10) platform.td().v15.reset();
  if (type == evidence::BodyType::td15_ex) {
    auto& ex = platform.td().v15->ex.emplace();
    ex.vm_id = 1;
    ex.td_id.fill(0x1D);
    ex.current_servtd_attributes.fill(0xCA);
  }
  return platform;
}

class VerifyBody : public testing::TestWithParam<evidence::BodyType> {};

TEST_P(VerifyBody, OfVersion5IsAcceptedAndSignedToItsLastByte) {
  const auto built = with_body(GetParam()).build();
  const auto outcome = verify_built(built);
  ASSERT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  EXPECT_EQ(outcome.evidence->tcb().status, TcbStatus::up_to_date);
  const auto body = evidence::body_size(GetParam());
  for (const std::size_t at : {std::size_t{0}, body / 2, body - 1}) {
    auto changed = built;
    changed.quote[evidence::kQuoteHeaderSize + 6 + at] ^= 0x80;
    const auto refused = verify_built(changed);
    EXPECT_EQ(refused.report.check(CheckId::quote_signature).code, Errc::quote_signature_invalid) << at;
    EXPECT_FALSE(refused.evidence.has_value());
  }
}

TEST_P(VerifyBody, HasACurrentTcbFromVersion15On) {
  const auto tcb = verify_built(with_body(GetParam()).build()).report.tcb;
  ASSERT_TRUE(tcb.has_value());
  EXPECT_EQ(tcb->current.has_value(), GetParam() >= evidence::BodyType::td15);
}

INSTANTIATE_TEST_SUITE_P(Types, VerifyBody,
                         testing::Values(evidence::BodyType::sgx, evidence::BodyType::td10, evidence::BodyType::td15,
                                         evidence::BodyType::td15_ex));

TEST(VerifyBody, OfTheExtendedTypeGetsTheAdviceToRelaunch) {
  auto platform = with_body(evidence::BodyType::td15_ex);
  platform.td().tee_tcb_svn[0] = 3;  // an old module at launch
  EXPECT_EQ(verify_built(platform.build()).report.tcb->status, TcbStatus::td_relaunch_advised);
}

// --- certification data ---

class VerifyForeignChain : public testing::TestWithParam<CertificationType> {};

TEST_P(VerifyForeignChain, ComesFromTheCollateralAlone) {
  for (const auto version : {std::uint16_t{3}, std::uint16_t{5}}) {
    SyntheticPlatform platform{TeeType::sgx, version};
    platform.certification = CertificationData{GetParam(), Bytes(404, 0x42)};
    auto built = platform.build();
    expect_failed(verify_built(built), {CheckId::pck_chain}, Errc::pck_chain_invalid);
    built.collateral.pck_certificate_chain = platform.pck_chain();
    EXPECT_TRUE(verify_built(built).evidence.has_value());
  }
}

TEST_P(VerifyForeignChain, OfAnotherPlatformIsRefused) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.certification = CertificationData{GetParam(), Bytes(36, 0)};
  auto built = platform.build();
  platform.pck.key = "another platform's PCK";
  built.collateral.pck_certificate_chain = platform.pck_chain();
  expect_failed(verify_built(built), {CheckId::qe_report_signature}, Errc::qe_report_signature_invalid);
}

INSTANTIATE_TEST_SUITE_P(Types, VerifyForeignChain,
                         testing::Values(CertificationType::ppid_plain, CertificationType::ppid_rsa2048,
                                         CertificationType::ppid_rsa3072));

TEST(VerifyChain, OfALeafAloneMayBePem) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto leaf = codec::parse_pem(platform.pck_chain())->front().der;
  platform.certification = CertificationData{CertificationType::pck_leaf, to_bytes(codec::to_pem("CERTIFICATE", leaf))};
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyChain, OfALeafAloneIsRefusedUnderAnotherAuthority) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  const auto leaf = codec::parse_pem(platform.pck_chain())->front().der;
  platform.certification = CertificationData{CertificationType::pck_leaf, leaf};
  auto built = platform.build();
  built.collateral.pck_crl_issuer_chain = built.collateral.tcb_info_issuer_chain;
  expect_failed(verify_built(built), {CheckId::pck_chain}, Errc::pck_chain_invalid);
}

TEST(VerifyChain, OfALeafThatIsNoCertificateIsRefused) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.certification = CertificationData{CertificationType::pck_leaf, Bytes(64, 0x30)};
  expect_only(platform, CheckId::pck_chain, Errc::pck_chain_invalid);
}

TEST(VerifyChain, MayEndInANul) {
  SyntheticPlatform platform;
  auto pem = to_bytes(platform.pck_chain());
  pem.push_back(0);
  platform.certification = CertificationData{CertificationType::pck_chain, pem};
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyChain, IsNotTakenFromTheCollateralWhenTheQuoteBringsABadOne) {
  SyntheticPlatform platform;
  platform.certification = CertificationData{CertificationType::pck_chain, to_bytes("no chain")};
  auto built = platform.build();
  built.collateral.pck_certificate_chain = platform.pck_chain();
  expect_failed(verify_built(built), {CheckId::pck_chain}, Errc::pck_chain_invalid);
}

/// Some bring it in another order (leaf, root, authority), and Intel's own verification takes any.
TEST(VerifyChain, MayComeInAnyOrder) {
  SyntheticPlatform platform;
  auto blocks = *codec::parse_pem(platform.pck_chain());
  std::ranges::sort(blocks, {}, &codec::PemBlock::der);
  do {
    std::string pem;
    for (const auto& block : blocks) pem += codec::to_pem("CERTIFICATE", block.der);
    platform.certification = CertificationData{CertificationType::pck_chain, to_bytes(pem)};
    EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
  } while (std::ranges::next_permutation(blocks, {}, &codec::PemBlock::der).found);
}

TEST(VerifyChain, OfASignerMayComeRootFirst) {
  auto built = SyntheticPlatform{}.build();
  for (auto chain : {&evidence::QuoteCollateral::tcb_info_issuer_chain, &evidence::QuoteCollateral::qe_identity_issuer_chain}) {
    const auto blocks = *codec::parse_pem(built.collateral.*chain);
    ASSERT_EQ(blocks.size(), 2U);
    built.collateral.*chain = codec::to_pem("CERTIFICATE", blocks[1].der) + codec::to_pem("CERTIFICATE", blocks[0].der);
  }
  EXPECT_TRUE(verify_built(built).evidence.has_value());
}

// --- keys and constraints ---

TEST(VerifyKeys, OfALeafOnAnotherCurveAreRefused) {
  SyntheticPlatform platform;
  platform.pck.curve = crypto::Curve::p384;
  expect_failed(verify_built(platform.build()), {CheckId::pck_chain, CheckId::qe_report_signature}, Errc::pck_chain_invalid);
}

TEST(VerifyKeys, OfASignerOnAnotherCurveAreRefused) {
  SyntheticPlatform platform;
  platform.tcb_signer.curve = crypto::Curve::p384;
  expect_failed(verify_built(platform.build()), {CheckId::tcb_info_chain, CheckId::tcb_info_signature},
                Errc::tcb_signing_chain_invalid);
}

TEST(VerifyKeys, OfAttestationThatAreNoPointAreRefused) {
  SyntheticPlatform platform;
  platform.attestation_point = ByteArray<64>{0x01};  // the QE vouches for it all the same
  expect_only(platform, CheckId::quote_signature, Errc::quote_signature_invalid);
}

TEST(VerifyConstraints, RefuseACriticalExtensionThatIsUnknownOfEveryCertificate) {
  const Bytes unknown = codec::der::oid("1.2.3.4");
  for (const auto& [plan, check, code] :
       {std::tuple{&SyntheticPlatform::pck, CheckId::pck_chain, Errc::pck_chain_invalid},
        std::tuple{&SyntheticPlatform::authority, CheckId::pck_chain, Errc::pck_chain_invalid},
        std::tuple{&SyntheticPlatform::tcb_signer, CheckId::tcb_info_chain, Errc::tcb_signing_chain_invalid},
        std::tuple{&SyntheticPlatform::qe_signer, CheckId::qe_identity_chain, Errc::tcb_signing_chain_invalid}}) {
    SyntheticPlatform platform;
    (platform.*plan).extensions.push_back({unknown, true, codec::der::null()});
    expect_only(platform, check, code);
  }
}

TEST(VerifyConstraints, TakeThePckExtensionAlsoWhenItIsCritical) {
  SyntheticPlatform platform;
  const auto extension = evidence::encode_pck_extension(*platform.platform);
  platform.platform.reset();
  platform.pck.extensions.push_back({codec::der::oid(evidence::kPckExtensionOid), true, extension});
  EXPECT_TRUE(verify_built(platform.build()).evidence.has_value());
}

TEST(VerifyPckExtension, MustBeReadable) {
  SyntheticPlatform platform;
  auto extension = evidence::encode_pck_extension(*platform.platform);
  extension.push_back(0);
  platform.platform.reset();
  platform.pck.extensions.push_back({codec::der::oid(evidence::kPckExtensionOid), false, extension});
  expect_only(platform, CheckId::pck_extension, Errc::pck_extension_invalid);
}

/// A list that does not say when the next one comes never gets old.
TEST(VerifyCrls, RefuseAListWithoutAnEnd) {
  const auto built = SyntheticPlatform{}.build();
  const auto anchors = anchors_of(built.root, AnchorKind::given);
  const auto quote = *evidence::parse_quote(built.quote);
  for (const auto& [list, check, code] :
       {std::tuple{&evidence::CollateralDocuments::root_ca_crl, CheckId::root_crl, Errc::root_crl_invalid},
        std::tuple{&evidence::CollateralDocuments::pck_crl, CheckId::pck_crl, Errc::pck_crl_invalid}}) {
    auto documents = *evidence::parse_documents(built.collateral);
    (documents.*list).next_update.reset();
    expect_failed(verify(quote, documents, anchors, SyntheticPlatform::now()), {check}, code);
  }
}

TEST(VerifyCrls, OfTheOtherAuthorityIsRefused) {
  SyntheticPlatform platform;  // the Processor CA's list, rightly signed by it, for a Platform CA's certificate
  platform.pck_crl.issuer_name = "Test PCK Processor CA";
  platform.pck_crl.issuer_key = "processor authority";
  expect_only(platform, CheckId::pck_crl, Errc::pck_crl_invalid);
}

TEST(VerifyTrailingBytes, AreBounded) {
  auto built = SyntheticPlatform{}.build();
  built.quote.insert(built.quote.end(), evidence::kMaxTrailingBytes, 0xA5);
  EXPECT_TRUE(verify_built(built).evidence.has_value());
  built.quote.push_back(0);
  EXPECT_EQ(evidence::parse_quote(built.quote).error().code(), Errc::limit_exceeded);
}

// --- documents of version 2 ---

TEST(VerifyTcbInfo, OfVersion2IsForSgxOnly) {
  for (const auto version : {std::uint16_t{3}, std::uint16_t{4}}) {
    SyntheticPlatform platform{TeeType::sgx, version};
    platform.tcb_info.version = 2;
    EXPECT_EQ(verify_built(platform.build()).report.tcb->status, TcbStatus::up_to_date);
    platform.platform->components[15] = 4;
    const auto outcome = verify_built(platform.build());
    EXPECT_TRUE(outcome.evidence.has_value());
    EXPECT_EQ(outcome.report.tcb->status, TcbStatus::sw_hardening_needed);
  }
  SyntheticPlatform tdx;
  tdx.tcb_info = SyntheticPlatform{TeeType::sgx, 3}.tcb_info;
  tdx.tcb_info.version = 2;
  expect_only(tdx, CheckId::tcb_info_match, Errc::tcb_info_mismatch);
}

TEST(VerifyTcbInfo, ForTdxIsNotForAnEnclaveInAnyVersion) {
  for (const auto version : {std::uint16_t{3}, std::uint16_t{4}, std::uint16_t{5}}) {
    SyntheticPlatform platform{TeeType::sgx, version};
    platform.tcb_info = SyntheticPlatform{}.tcb_info;
    expect_only(platform, CheckId::tcb_info_match, Errc::tcb_info_mismatch);
  }
}

// --- the TCB ---

Tcb tcb_of(const SyntheticPlatform& platform) {
  const auto outcome = verify_built(platform.build());
  EXPECT_TRUE(outcome.evidence.has_value()) << outcome.report.error()->text();
  return *outcome.report.tcb;
}

TEST(Tcb, IsTheFirstLevelThatMatchesAlsoWhenALaterOneIsBetter) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  std::swap(platform.tcb_info.levels[0], platform.tcb_info.levels[2]);
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::out_of_date);
}

TEST(Tcb, IsThatOfTheCertificateNotOfTheReport) {
  SyntheticPlatform platform{TeeType::sgx, 3};
  platform.enclave().cpu_svn.fill(0);
  platform.platform->cpu_svn.fill(0);
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::up_to_date);
}

struct ModuleConvergence {
  Document platform;
  Document module;
  TcbStatus expected;
};
class TcbOfModule : public testing::TestWithParam<ModuleConvergence> {};

TEST_P(TcbOfModule, LowersThePlatform) {
  SyntheticPlatform platform;
  platform.tcb_info.levels[0].status = GetParam().platform;
  platform.tcb_info.tdx_module_identities[0].levels[0].status = GetParam().module;
  EXPECT_EQ(tcb_of(platform).status, GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(
    Statuses, TcbOfModule,
    testing::Values(
        ModuleConvergence{Document::up_to_date, Document::out_of_date, TcbStatus::out_of_date},
        ModuleConvergence{Document::sw_hardening_needed, Document::out_of_date, TcbStatus::out_of_date},
        ModuleConvergence{Document::configuration_needed, Document::out_of_date, TcbStatus::out_of_date_configuration_needed},
        ModuleConvergence{Document::configuration_and_sw_hardening_needed, Document::out_of_date,
                          TcbStatus::out_of_date_configuration_needed},
        ModuleConvergence{Document::out_of_date, Document::out_of_date, TcbStatus::out_of_date},
        ModuleConvergence{Document::out_of_date_configuration_needed, Document::out_of_date,
                          TcbStatus::out_of_date_configuration_needed},
        ModuleConvergence{Document::revoked, Document::out_of_date, TcbStatus::revoked},
        ModuleConvergence{Document::up_to_date, Document::revoked, TcbStatus::revoked},
        ModuleConvergence{Document::out_of_date, Document::revoked, TcbStatus::revoked},
        // Words that Intel does not use for modules: never better than out of date.
        ModuleConvergence{Document::up_to_date, Document::configuration_needed, TcbStatus::out_of_date},
        ModuleConvergence{Document::up_to_date, Document::sw_hardening_needed, TcbStatus::out_of_date}));

TEST(Tcb, OfARevokedQuotingEnclaveIsNotCuredByARelaunch) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  platform.td().tee_tcb_svn[0] = 3;
  platform.qe_report.isv_svn = 1;
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::revoked);
}

TEST(Tcb, OfAnOldQuotingEnclaveIsNotCuredByARelaunch) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  platform.qe_report.isv_svn = 2;  // lowers the launch and the current TCB alike
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::out_of_date);
}

TEST(Tcb, OfARelaunchComparesFromTheIndexThatItsOwnModuleSays) {
  SyntheticPlatform platform{TeeType::tdx, 5};
  platform.td().v15->tee_tcb_svn2[1] = 0;  // no identity: components 0 (4 of 5) and 1 (0 of 5) count
  EXPECT_EQ(tcb_of(platform).status, TcbStatus::not_supported);
}

}  // namespace
}  // namespace cloister::attestation
