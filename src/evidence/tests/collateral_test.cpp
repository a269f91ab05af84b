#include "cloister/evidence/collateral.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "samples.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;
using cloister::test::read_file;
using cloister::test::read_text;

const QuoteCollateral& sample() {
  static const auto collateral = test::sample_collateral();
  return collateral;
}

json::Value sample_json() { return *json::parse(write_quote_collateral(sample())); }

Result<QuoteCollateral> parse_with(std::string_view member, json::Value value) {
  auto document = sample_json();
  document.set(member, std::move(value));
  return parse_quote_collateral(json::write(document));
}

json::Value octets(ByteView bytes) {
  json::Array out;
  for (const auto byte : bytes) out.emplace_back(static_cast<std::int64_t>(byte));
  return out;
}

void expect_refused(const Result<QuoteCollateral>& result, std::string_view detail) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::collateral_malformed) << result.error().text();
  EXPECT_NE(result.error().detail().find(detail), std::string::npos) << result.error().text();
}

void expect_documents_refused(const QuoteCollateral& collateral, std::string_view member) {
  const auto documents = parse_documents(collateral);
  ASSERT_FALSE(documents);
  EXPECT_NE(documents.error().detail().find(member), std::string::npos) << documents.error().text();
}

TEST(QuoteCollateral, RoundTrips) {
  const auto read = parse_quote_collateral(write_quote_collateral(sample()));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, sample());
}

TEST(QuoteCollateral, RoundTripsWithAPckChain) {
  auto collateral = sample();
  collateral.pck_certificate_chain = collateral.pck_crl_issuer_chain;
  EXPECT_EQ(*parse_quote_collateral(write_quote_collateral(collateral)), collateral);
  EXPECT_EQ(parse_documents(collateral)->pck_certificate_chain.size(), 1U);
}

TEST(QuoteCollateral, ReadsEveryRealBundle) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  std::vector<std::filesystem::path> files{
      vectors / "attestation/tdx/dcap-qvl/tdx_quote_collateral.json",
      vectors / "attestation/tdx/dcap-qvl/tdx_quote_outdated_collateral.json",
      vectors / "attestation/sgx/dcap-qvl/sgx_quote_collateral.json",
  };
  for (const auto& entry : std::filesystem::directory_iterator(vectors / "attestation/dcap-cases/bundles")) {
    files.push_back(entry.path());
  }
  EXPECT_GT(files.size(), 12U);
  for (const auto& file : files) {
    SCOPED_TRACE(file);
    const auto collateral = parse_quote_collateral(read_text(file));
    ASSERT_TRUE(collateral) << collateral.error().text();
    EXPECT_EQ(*parse_quote_collateral(write_quote_collateral(*collateral)), *collateral);
    const auto documents = parse_documents(*collateral);
    ASSERT_TRUE(documents) << documents.error().text();
    EXPECT_EQ(documents->tcb_info_issuer_chain.front()->subject_common_name, "Intel SGX TCB Signing");
    EXPECT_EQ(documents->root_ca_crl.issuer_common_name, "Intel SGX Root CA");
    EXPECT_TRUE(documents->pck_crl.issuer_common_name.starts_with("Intel SGX PCK P"));
    EXPECT_EQ(documents->tcb_info.body, collateral->tcb_info);
    EXPECT_EQ(documents->qe_identity.identity.id,
              documents->tcb_info.info.tee == TeeType::tdx ? EnclaveId::td_qe : EnclaveId::qe);
  }
}

TEST(QuoteCollateral, ReadsCrlsInEveryEncoding) {
  const auto& der = sample().root_ca_crl;
  const auto pem = codec::to_pem("X509 CRL", der);
  const std::vector<json::Value> encodings{
      codec::to_hex(der),
      codec::to_base64(der),
      pem,
      pem + std::string(1, '\0'),
      codec::to_hex(as_bytes(pem)),
      codec::to_base64(as_bytes(pem)),
      codec::to_hex(as_bytes(codec::to_hex(der))),
      codec::to_base64(as_bytes(codec::to_hex(der) + std::string(1, '\0'))),
      octets(der),
      octets(as_bytes(pem)),
  };
  for (const auto& encoding : encodings) {
    const auto read = parse_with("root_ca_crl", encoding);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->root_ca_crl, der);
  }
}

TEST(QuoteCollateral, ReadsRealCrlFiles) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto folder = vectors / "attestation/sgx-tdx-synthetic/intel-qvl";
  const auto der = read_file(folder / "rootCaCrl.der");
  EXPECT_EQ(*crl_to_der(der), der);
  EXPECT_EQ(*crl_to_der(read_file(folder / "rootCaCrl.pem")), der);
}

TEST(QuoteCollateral, RefusesCrlsInNoEncoding) {
  expect_refused(parse_with("root_ca_crl", ""), "root_ca_crl");
  expect_refused(parse_with("pck_crl", "not a CRL!"), "pck_crl");
  expect_refused(parse_with("pck_crl", nullptr), "pck_crl");
  expect_refused(parse_with("pck_crl", octets(Bytes{1, 2, 3})), "pck_crl");
  expect_refused(parse_with("pck_crl", json::Array{json::Value{256}}), "pck_crl");
  expect_refused(parse_with("pck_crl", codec::to_pem("CERTIFICATE", sample().pck_crl)), "pck_crl");
  const auto pem = codec::to_pem("X509 CRL", sample().pck_crl);
  expect_refused(parse_with("pck_crl", pem + pem), "pck_crl");
}

TEST(QuoteCollateral, RefusesCrlsWrappedWithoutEnd) {
  auto text = codec::to_hex(sample().pck_crl);
  for (int i = 0; i < 3; ++i) text = codec::to_hex(as_bytes(text));
  expect_refused(parse_with("pck_crl", text), "pck_crl");
}

TEST(QuoteCollateral, ReadsDocumentsAsEnvelopesAndObjects) {
  const auto envelope = write_tcb_info(sample().tcb_info, sample().tcb_info_signature);
  const std::vector<json::Value> forms{
      envelope,
      sample().tcb_info + std::string(1, '\0'),
      *json::parse(envelope),
      *json::parse(sample().tcb_info),
  };
  for (const auto& form : forms) {
    const auto read = parse_with("tcb_info", form);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->tcb_info, sample().tcb_info);
    EXPECT_EQ(read->tcb_info_signature, sample().tcb_info_signature);
  }
}

TEST(QuoteCollateral, TakesTheSignatureFromAnEnvelopeWhenThereIsNoOther) {
  auto document = sample_json();
  document.set("qe_identity", write_qe_identity(sample().qe_identity, sample().qe_identity_signature));
  std::erase_if(*document.as_object(), [](const auto& member) { return member.first == "qe_identity_signature"; });
  const auto read = parse_quote_collateral(json::write(document));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, sample());
}

TEST(QuoteCollateral, RefusesTwoDifferentSignatures) {
  auto other = sample().tcb_info_signature;
  other[0] ^= 1;
  expect_refused(parse_with("tcb_info", write_tcb_info(sample().tcb_info, other)), "tcb_info_signature");
}

TEST(QuoteCollateral, RefusesEachMemberMissing) {
  for (const auto* name : {"pck_crl_issuer_chain", "root_ca_crl", "pck_crl", "tcb_info_issuer_chain", "tcb_info",
                           "tcb_info_signature", "qe_identity_issuer_chain", "qe_identity", "qe_identity_signature"}) {
    auto document = sample_json();
    std::erase_if(*document.as_object(), [&](const auto& member) { return member.first == name; });
    expect_refused(parse_quote_collateral(json::write(document)), name);
  }
}

TEST(QuoteCollateral, RefusesMembersOfOtherTypes) {
  expect_refused(parse_with("pck_crl_issuer_chain", 1), "pck_crl_issuer_chain");
  expect_refused(parse_with("tcb_info", json::Array{}), "tcb_info");
  expect_refused(parse_with("tcb_info_signature", "00"), "tcb_info_signature");
  expect_refused(parse_with("qe_identity_signature", "zz"), "qe_identity_signature");
  expect_refused(parse_with("pck_certificate_chain", 7), "pck_certificate_chain");
}

TEST(QuoteCollateral, LeavesUnknownMembersAlone) {
  EXPECT_EQ(*parse_with("tee_type", 129), sample());
  EXPECT_EQ(*parse_with("pck_certificate_chain", nullptr), sample());
}

TEST(QuoteCollateral, RefusesWhatIsNoObject) {
  expect_refused(parse_quote_collateral(""), "");
  expect_refused(parse_quote_collateral("[]"), "object");
}

TEST(QuoteCollateral, RefusesMoreThanItsLimit) {
  const auto read = parse_quote_collateral(std::string(kMaxCollateralSize, ' ') + "{}");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::limit_exceeded);
}

TEST(CollateralDocuments, NameTheMemberThatDoesNotParse) {
  ASSERT_TRUE(parse_documents(sample()));
  for (const auto member : {&QuoteCollateral::pck_crl_issuer_chain, &QuoteCollateral::tcb_info_issuer_chain,
                             &QuoteCollateral::qe_identity_issuer_chain}) {
    auto collateral = sample();
    collateral.*member = "no certificate";
    expect_documents_refused(collateral, "issuer_chain");
  }
  for (const auto member : {&QuoteCollateral::root_ca_crl, &QuoteCollateral::pck_crl}) {
    auto collateral = sample();
    (collateral.*member)[4] ^= 0xFF;
    expect_documents_refused(collateral, "crl");
  }
  auto collateral = sample();
  collateral.pck_certificate_chain = "";
  expect_documents_refused(collateral, "pck_certificate_chain");
  collateral = sample();
  collateral.tcb_info = "{}";
  expect_documents_refused(collateral, "TCB Info");
  collateral = sample();
  collateral.qe_identity = "{}";
  expect_documents_refused(collateral, "QE identity");
}

}  // namespace
}  // namespace cloister::evidence
