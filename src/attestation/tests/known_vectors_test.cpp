#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/detect.hpp"
#include "cloister/evidence/td_report.hpp"
#include "support/support.hpp"
#include "verifying.hpp"

/// What is known of the public SGX and TDX vectors beside the truth table of quotes under bundles: one line a case.
namespace cloister::attestation {
namespace {

namespace json = codec::json;
namespace fs = std::filesystem;

void print(std::string_view what, const std::string& expected, const std::string& got) {
  std::cout << (expected == got ? "ok    " : "WRONG ") << what << ": " << got << '\n';
  EXPECT_EQ(got, expected) << what;
}

// --- documents ---

struct DocumentCase {
  const char* file;  // below attestation/
  const char* expected;
};

/// Where a parser of version 1 reads a document (Open Enclave's), we refuse it for its version: QVL reads versions 2 and
/// 3 of TCB info and 2 of identities (TcbInfo.cpp, EnclaveIdentity.cpp), and nothing newer vouches for version 1.
const std::vector<DocumentCase> kDocuments{
    {"sgx/openenclave-negative/tcbinfo/tcbInfo.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfo_with_pceid.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativeIntegerWithSign.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativeInvalidIssueDate.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativeMissingNextUpdate.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativePceSvn.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativePropertyMissingLevel0.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativePropertyMissingLevel1.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativePropertyMissingLevel3.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativePropertyWrongTypeLevel0.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativePropertyWrongTypeLevel2.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativeSignature.json", "refused"},
    {"sgx/openenclave-negative/tcbinfo/tcbInfoNegativeStringEscape.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_ok.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_attributes.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_attributesmask.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_issuedate.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_isvprodid.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_miscselect.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_miscselectmask.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_qeidentity.json", "refused"},
    {"sgx/openenclave-negative/qeidentity/qe_identity_missing_version.json", "refused"},
    {"sgx/automata-dcap-rs/tcbinfov2.json", "TCB info"},
    {"sgx/automata-dcap-rs/qeidentityv2.json", "QE identity"},
    {"sgx/automata-evm/0825_sgx_tcbinfov3_00606a000000.json", "TCB info"},
    {"sgx/automata-evm/0825_sgx_qeidentity_v4.json", "QE identity"},
    {"sgx/automata-solana/tcb_info_v3_sgx.json", "TCB info"},
    {"sgx-tdx-synthetic/intel-qvl/tcbInfo.json", "TCB info"},
    {"sgx-tdx-synthetic/intel-qvl/qeIdentity.json", "QE identity"},
    {"sgx-tdx-synthetic/intel-qvl/qveIdentity.json", "refused"},  // of the quote verification enclave: of no use here
    {"sgx-tdx-synthetic/intel-qvl/tdx/tcbInfo.json", "refused"},  // SVNs above 255: see docs/verdicts.md
    {"sgx-tdx-synthetic/intel-qvl/tdx/qeIdentity.json", "QE identity"},
    {"tdx/attestation-rs/collateral_tcb_info_50806f000000.json", "TCB info"},
    {"tdx/attestation-rs/collateral_tcb_info_90c06f000000.json", "TCB info"},
    {"tdx/attestation-rs/collateral_td_qe_identity.json", "QE identity"},
    {"tdx/go-tdx-guest/sample_tcbInfo_response", "TCB info"},
    {"tdx/go-tdx-guest/sample_tcbinfo_response_v5", "TCB info"},
    {"tdx/go-tdx-guest/sample_qeIdentity_response", "QE identity"},
};

TEST(KnownVectors, DocumentsAreReadOrRefused) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  for (const auto& c : kDocuments) {
    const auto text = test::read_text(folder / "attestation" / c.file);
    const auto got = evidence::parse_tcb_info(text) ? "TCB info" : evidence::parse_qe_identity(text) ? "QE identity" : "refused";
    print(c.file, c.expected, got);
  }
}

// --- quotes by themselves ---

/// The chain to Intel's root, the QE report's signature, its data, and the quote's signature: what a quote shows without
/// the collateral of its platform.
constexpr std::array kOfTheQuote{CheckId::pck_chain, CheckId::qe_report_signature, CheckId::qe_report_data,
                                 CheckId::quote_signature};

struct QuoteCase {
  const char* file;      // below the vectors
  const char* expected;  // the checks of the above that fail
};

const std::vector<QuoteCase> kQuotes{
    {"lab/sgx/quote_pck_cert_chain.bin", ""},
    {"lab/sgx/quote_pck_cert_chain_corrupted.bin", "quote_signature "},
    {"lab/sgx/fortanix_pcs_quote.bin", ""},
    {"lab/tdx/cos113_tdx_quote_v4.dat", ""},
    {"lab/tdx/tdx_prod_quote_SPR_E4.dat", ""},
    {"attestation/sgx/dcap-qvl/sgx_quote", ""},
    {"attestation/sgx/openenclave/qve_thread_sgx_quote", ""},
    {"attestation/sgx/trustee/occlum_quote.dat", ""},
    {"attestation/tdx/attestation-rs/tdx_quote_live.dat", ""},
    {"attestation/tdx/automata-evm/quotes_alibaba_quote_5.dat", ""},
    {"attestation/tdx/automata-rust/quotev4.hex", ""},
    {"attestation/tdx/automata-solana/quote_tdx.bin", ""},
    {"attestation/tdx/dcap-qvl/tdx-quote.hex", ""},
    {"attestation/tdx/dcap-qvl/tdx_quote", ""},
    {"attestation/tdx/dcap-qvl/tdx_quote_outdated", ""},
    {"attestation/tdx/dstack/quote-report.json", ""},
    {"attestation/tdx/dstack/tdx-lite-getquote.json", ""},
    {"attestation/tdx/go-tdx-guest/tdx_prod_quote_SPR_E4.dat", ""},
    {"attestation/tdx/openenclave/tdx_quote.bin", ""},
    {"attestation/tdx/trustee/tdx_quote_4.dat", ""},
    {"attestation/tdx/trustee/tdx_quote_5.dat", ""},
};

evidence::CollateralDocuments some_documents(const fs::path& folder) {
  const auto text = test::read_text(folder / "attestation/dcap-cases/bundles/dq-tdx.json");
  return *evidence::parse_documents(*evidence::parse_quote_collateral(text));
}

std::string failures_of_the_quote(const fs::path& file, const evidence::CollateralDocuments& documents) {
  const auto found = evidence::detect(test::read_file(file));
  if (!found) return found.error().text();
  const auto quote = evidence::parse_quote(found->bytes);
  if (!quote) return quote.error().text();
  const auto outcome = verify(*quote, documents, TrustAnchors::vendors(), *parse_rfc3339("2025-06-20T10:32:27Z"));
  std::string failed;
  for (const auto id : kOfTheQuote) {
    if (outcome.report.check(id).result != CheckResult::pass) failed += std::string{to_string(id)} + ' ';
  }
  return failed;
}

TEST(KnownVectors, QuotesAreSignedUpToIntelsRoot) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto documents = some_documents(folder);
  for (const auto& c : kQuotes) print(c.file, c.expected, failures_of_the_quote(folder / c.file, documents));
}

/// Certificates of attested TLS, with a quote in an extension whose own certificates were mutilated.
TEST(KnownVectors, QuotesInMutilatedCertificatesAreRefused) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto documents = some_documents(folder);
  constexpr std::size_t kVendorIdAt = 12;  // in a quote's header
  for (const auto* file : {"sgx_cert_ec_bad.der", "sgx_cert_rsa_bad.der"}) {
    const auto bytes = test::read_file(folder / "attestation/sgx/openenclave-negative" / file);
    const auto vendor = std::ranges::search(bytes, evidence::kIntelQeVendorId);
    ASSERT_FALSE(vendor.empty());
    const auto at = static_cast<std::size_t>(vendor.begin() - bytes.begin()) - kVendorIdAt;
    const auto quote = evidence::parse_quote(ByteView{bytes}.subspan(at));
    ASSERT_TRUE(quote.ok()) << quote.error().text();
    const auto outcome = verify(*quote, documents, TrustAnchors::vendors(), *parse_rfc3339("2025-06-20T10:32:27Z"));
    print(file, "pck_chain_invalid", std::string{to_string(outcome.report.error()->code())});
  }
}

TEST(KnownVectors, QuotesSayWhatOthersReadInThem) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto quote = *evidence::parse_quote(test::read_file(folder / "attestation/tdx/trustee/tdx_quote_4.dat"));
  const auto& td = *quote.td();
  const auto known = *json::parse(test::read_text(folder / "attestation/tdx/trustee/parse_tdx_claims_expected.json"));
  const auto* body = known.find("quote")->find("body");
  const auto compare = [&](std::string_view name, ByteView got) {
    print(name, *body->find(name)->as_string(), codec::to_hex(got));
  };
  compare("mr_td", td.mr_td);
  compare("mr_seam", td.mr_seam);
  compare("mrsigner_seam", td.mr_signer_seam);
  compare("mr_config_id", td.mr_config_id);
  compare("mr_owner", td.mr_owner);
  compare("mr_owner_config", td.mr_owner_config);
  compare("seam_attributes", td.seam_attributes);
  compare("tcb_svn", td.tee_tcb_svn);
  compare("report_data", td.report_data);
  for (std::size_t i = 0; i < 4; ++i) compare("rtmr_" + std::to_string(i), td.rtmr[i]);
  const auto* flags = known.find("td_attributes");
  const AttributeFindings found = attribute_findings(Claims{DcapClaims{quote.header(), quote.body(), std::nullopt}});
  EXPECT_EQ(*flags->find("debug")->as_bool(), found.debug);
  EXPECT_EQ(*flags->find("septve_disable")->as_bool(), !found.ve_not_disabled);
}

TEST(KnownVectors, EventLogsSayWhatOthersReadInThem) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto tdx = folder / "attestation/tdx";
  const auto log = evidence::parse_ccel(test::read_file(tdx / "trustee/CCEL_data_ovmf"));
  ASSERT_TRUE(log.ok()) << log.error().text();
  const auto known = *json::parse(test::read_text(tdx / "eventlog-trustee/CCEL_data_ovmf_out.json"));
  const auto& events = *known.find("uefi_event_logs")->as_array();
  ASSERT_EQ(events.size(), log->size());
  std::size_t same = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto& digest = *events[i].find("digests")->as_array()->front().find("digest")->as_string();
    const auto index = *events[i].find("index")->as_int();
    const auto rtmr = (*log)[i].rtmr;
    same += digest == codec::to_hex((*log)[i].digest) && index == (rtmr ? *rtmr + 1 : 0) ? 1U : 0U;
  }
  print("CCEL_data_ovmf", std::to_string(events.size()) + " events", std::to_string(same) + " events");
}

// --- Intel's own samples ---

struct Sample {
  evidence::QuoteCollateral collateral;
  TrustAnchors anchors;
  Bytes quote;
};

/// Intel's sample application is given the PCK chain beside the quote.
Sample sample(const fs::path& folder) {
  const auto text = [&](const char* name) { return test::read_text(folder / name); };
  const auto tcb_info = *evidence::parse_tcb_info(text("tcbInfo.json"));
  const auto qe_identity = *evidence::parse_qe_identity(text("qeIdentity.json"));
  Sample out;
  out.collateral = {.pck_crl_issuer_chain = text("pckSignChain.pem"),
                    .root_ca_crl = test::read_file(folder / "rootCaCrl.der"),
                    .pck_crl = test::read_file(folder / "intermediateCaCrl.der"),
                    .tcb_info_issuer_chain = text("tcbSignChain.pem"),
                    .tcb_info = tcb_info.body,
                    .tcb_info_signature = tcb_info.signature,
                    .qe_identity_issuer_chain = text("tcbSignChain.pem"),
                    .qe_identity = qe_identity.body,
                    .qe_identity_signature = qe_identity.signature,
                    .pck_certificate_chain = text("pckCert.pem") + text("pckSignChain.pem")};
  out.anchors = anchors_of(crypto::x509::parse_chain(text("trustedRootCaCert.pem"))->front(), AnchorKind::given);
  out.quote = test::read_file(folder / "quote.dat");
  return out;
}

std::string verdict(const Sample& s, const TrustAnchors& anchors) {
  const auto outcome = verify(*evidence::parse_quote(s.quote), *evidence::parse_documents(s.collateral), anchors,
                              *parse_rfc3339("2024-01-01T00:00:00Z"));
  if (const auto error = outcome.report.error()) return std::string{to_string(error->code())};
  return std::string{to_string(outcome.report.tcb->status)};
}

/// PPID instead of a chain (certification data 1), TCB info 2, a MISCSELECT that is not the same from both ends.
TEST(KnownVectors, IntelsSampleOfSgxHoldsUnderItsOwnRoot) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto s = sample(folder / "attestation/sgx-tdx-synthetic/intel-qvl");
  print("intel-qvl, its own root", "UpToDate", verdict(s, s.anchors));
  print("intel-qvl, Intel's root", "root_untrusted", verdict(s, TrustAnchors::vendors()));
}

/// Its TCB info has SVNs above 255 (docs/verdicts.md). The quote itself is good: all but the chain, which is no PEM.
TEST(KnownVectors, IntelsSampleOfTdxIsSignedByItsOwnPlatform) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto base = folder / "attestation/sgx-tdx-synthetic/intel-qvl/tdx";
  const auto quote = evidence::parse_quote(test::read_file(base / "quote.dat"));
  ASSERT_TRUE(quote.ok()) << quote.error().text();
  const auto outcome = verify(*quote, some_documents(folder), TrustAnchors::vendors(), *parse_rfc3339("2024-01-01T00:00:00Z"));
  EXPECT_EQ(outcome.report.check(CheckId::quote_signature).result, CheckResult::pass);
  EXPECT_EQ(outcome.report.check(CheckId::qe_report_data).result, CheckResult::pass);
  EXPECT_EQ(outcome.report.check(CheckId::pck_chain).code, Errc::pck_chain_invalid);
  const auto pck = crypto::x509::parse_chain(test::read_text(base / "pckCert.pem"))->front();
  EXPECT_TRUE(std::get<crypto::EcPublicKey>(pck->key).verify(quote->qe_report_bytes(), quote->signature().qe_report_signature).ok());
}

}  // namespace
}  // namespace cloister::attestation
