#include "cloister/evidence/quote.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

#include "cloister/codec/text.hpp"
#include "samples.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

using test::sample_body;
using test::sample_quote;
using test::sample_sgx_report;

constexpr std::size_t kV3SectionSize = 432;       // where the size of the signature section stands
constexpr std::size_t kV4TdSectionSize = 632;
constexpr std::size_t kV4TdWrapper = 632 + 4 + 128;
constexpr std::size_t kV3AuthSize = 432 + 4 + 128 + 384 + 64;

Bytes sample_v3() { return *encode_quote(sample_quote(3, BodyType::sgx)); }
Bytes sample_v4() { return *encode_quote(sample_quote(4, BodyType::td10)); }
Bytes sample_v5(BodyType type = BodyType::td15) { return *encode_quote(sample_quote(5, type)); }

void expect_refused(ByteView bytes, Errc code, std::string_view detail) {
  const auto quote = parse_quote(bytes);
  ASSERT_FALSE(quote);
  EXPECT_EQ(quote.error().code(), code) << quote.error().text();
  EXPECT_NE(quote.error().detail().find(detail), std::string::npos) << quote.error().text();
}

struct Shape {
  std::uint16_t version;
  BodyType type;
  std::size_t signed_size;
};
class EveryShape : public testing::TestWithParam<Shape> {};

TEST_P(EveryShape, RoundTrips) {
  const auto [version, type, signed_size] = GetParam();
  const auto content = sample_quote(version, type);
  const auto bytes = encode_quote(content);
  ASSERT_TRUE(bytes) << bytes.error().text();
  const auto quote = parse_quote(*bytes);
  ASSERT_TRUE(quote) << quote.error().text();
  EXPECT_EQ(quote->content(), content);
  EXPECT_EQ(quote->bytes().size(), bytes->size());
  EXPECT_EQ(quote->trailing_bytes(), 0U);
  ASSERT_EQ(quote->signed_bytes().size(), signed_size);
  EXPECT_TRUE(same_bytes(quote->signed_bytes(), *encode_signed_part(content.header, content.body)));
  EXPECT_TRUE(same_bytes(quote->qe_report_bytes(), encode_sgx_report(content.signature.qe_report)));
  EXPECT_EQ(quote->sgx() != nullptr, type == BodyType::sgx);
  EXPECT_EQ(quote->td() != nullptr, type != BodyType::sgx);
}

TEST_P(EveryShape, RefusesEveryTruncation) {
  const auto [version, type, signed_size] = GetParam();
  const auto bytes = *encode_quote(sample_quote(version, type));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto quote = parse_quote(ByteView{bytes}.first(size));
    ASSERT_FALSE(quote) << size;
    EXPECT_EQ(quote.error().code(), Errc::evidence_malformed) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Quote, EveryShape,
                         testing::Values(Shape{3, BodyType::sgx, 432}, Shape{4, BodyType::sgx, 432},
                                         Shape{4, BodyType::td10, 632}, Shape{5, BodyType::sgx, 438},
                                         Shape{5, BodyType::td10, 638}, Shape{5, BodyType::td15, 702},
                                         Shape{5, BodyType::td15_ex, 939}));

TEST(Quote, RealQuotesEncodeBackToTheirBytes) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto& file : test::quote_files(vectors)) {
    SCOPED_TRACE(file.name);
    const auto quote = parse_quote(file.bytes);
    ASSERT_TRUE(quote) << quote.error().text();
    const auto encoded = encode_quote(quote->content());
    ASSERT_TRUE(encoded) << encoded.error().text();
    EXPECT_TRUE(same_bytes(*encoded, ByteView{file.bytes}.first(file.bytes.size() - quote->trailing_bytes())));
    EXPECT_TRUE(same_bytes(*encoded, quote->bytes()));
    const auto again = parse_quote(*encoded);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->content(), quote->content());
  }
}

TEST(Quote, ReadsARealTdQuote) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto quote = parse_quote(cloister::test::read_file(vectors / "attestation/tdx/trustee/tdx_quote_4.dat"));
  ASSERT_TRUE(quote);
  EXPECT_EQ(quote->header().version, 4);
  EXPECT_EQ(quote->tee(), TeeType::tdx);
  EXPECT_EQ(quote->header().qe_vendor_id, kIntelQeVendorId);
  EXPECT_EQ(codec::to_hex(quote->header().user_data), "d099bfec0a477aa85a605dceabf2b10800000000");
  const auto& td = *quote->td();
  EXPECT_EQ(codec::to_hex(td.tee_tcb_svn), "03000500000000000000000000000000");
  EXPECT_EQ(codec::to_hex(td.mr_seam).substr(0, 16), "2fd279c16164a93d");
  EXPECT_EQ(codec::to_hex(td.mr_td).substr(0, 16), "705ee9381b8633a9");
  EXPECT_EQ(td.td_attributes, 0x10000001U);  // "0100001000000000": DEBUG, SEPT_VE_DISABLE
  EXPECT_EQ(td.xfam, 0x642e7U) << "e742060000000000";
  EXPECT_EQ(codec::to_hex(td.rtmr[0]).substr(0, 16), "e940da7c2712d279");
  EXPECT_EQ(codec::to_hex(td.rtmr[1]).substr(0, 16), "559cfcf42716ed6c");
  EXPECT_TRUE(all_zero(td.rtmr[3]));
  EXPECT_EQ(codec::to_hex(quote->report_data()).substr(0, 16), "7c71fe2c86eff65a");
  EXPECT_EQ(quote->signature().certification.type, CertificationType::pck_chain);
}

TEST(Quote, ReadsARealSgxQuote) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto quote = parse_quote(cloister::test::read_file(vectors / "lab/sgx/quote_pck_cert_chain.bin"));
  ASSERT_TRUE(quote);
  ASSERT_NE(quote->sgx(), nullptr);
  EXPECT_EQ(codec::to_hex(quote->sgx()->mr_enclave), "04d285fd1b0f11a7e29392d7481f2d94dcdb298ba7619b04e7fc320d81f2970e");
  EXPECT_EQ(quote->signature().qe_auth_data.size(), 32U);
  EXPECT_TRUE(all_zero(ByteView{quote->signature().qe_report.report_data}.subspan(32)));
}

TEST(Quote, ReadsTheSecondTcbOfATdx15Quote) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto quote = parse_quote(cloister::test::read_file(vectors / "attestation/tdx/dcap-qvl/tdx_quote_outdated"));
  ASSERT_TRUE(quote);
  ASSERT_TRUE(quote->td()->v15);
  EXPECT_EQ(codec::to_hex(quote->td()->tee_tcb_svn).substr(0, 6), "070103");
  EXPECT_EQ(codec::to_hex(quote->td()->v15->tee_tcb_svn2).substr(0, 6), "0d0103");
  EXPECT_FALSE(quote->td()->v15->ex);
}

TEST(Quote, CountsRealTrailingBytes) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto trailing = [&](const char* name) {
    return parse_quote(cloister::test::read_file(vectors / "attestation/dcap-cases/quotes" / name))->trailing_bytes();
  };
  EXPECT_EQ(trailing("tdx__go-tdx-guest__tdx_prod_quote_SPR_E4.dat"), 39U);  // and they are not zero
  EXPECT_EQ(trailing("tdx__automata-solana__quote_tdx.bin"), 3065U);
  EXPECT_EQ(trailing("tdx__trustee__tdx_quote_5.dat"), 0U);
}

TEST(Quote, AcceptsTrailingBytesUpToTheLimit) {
  auto bytes = sample_v4();
  const auto size = bytes.size();
  bytes.resize(size + kMaxTrailingBytes, 0xA5);
  const auto quote = parse_quote(bytes);
  ASSERT_TRUE(quote) << quote.error().text();
  EXPECT_EQ(quote->trailing_bytes(), kMaxTrailingBytes);
  EXPECT_EQ(quote->bytes().size(), size);
}

TEST(Quote, RefusesMoreTrailingBytes) {
  auto bytes = sample_v4();
  bytes.resize(bytes.size() + kMaxTrailingBytes + 1);
  expect_refused(bytes, Errc::limit_exceeded, "after the declared length");
}

TEST(Quote, RefusesUnknownVersions) {
  for (const auto version : std::initializer_list<std::uint8_t>{0, 1, 2, 6, 255}) {
    auto bytes = sample_v4();
    bytes[0] = version;
    expect_refused(bytes, Errc::evidence_unsupported, "version 3 to 5");
  }
}

TEST(Quote, RefusesOtherAttestationKeys) {
  auto bytes = sample_v4();
  bytes[2] = 3;
  expect_refused(bytes, Errc::evidence_unsupported, "attestation key type");
}

TEST(Quote, RefusesUnknownTees) {
  auto bytes = sample_v4();
  bytes[4] = 0x80;
  expect_refused(bytes, Errc::evidence_unsupported, "TEE type");
}

TEST(Quote, RefusesTdxInVersion3) {
  auto bytes = sample_v3();
  bytes[4] = 0x81;
  expect_refused(bytes, Errc::evidence_unsupported, "version 3 is SGX only");
}

TEST(Quote, RefusesUnknownBodyTypes) {
  for (const auto type : std::initializer_list<std::uint8_t>{0, 5}) {
    auto bytes = sample_v5();
    bytes[48] = type;
    expect_refused(bytes, Errc::evidence_unsupported, "body type 1 to 4");
  }
}

TEST(Quote, RefusesABodyOfTheOtherTee) {
  auto td = sample_v5();
  td[48] = 1;
  expect_refused(td, Errc::evidence_unsupported, "does not belong");
  auto sgx = sample_v5(BodyType::sgx);
  sgx[48] = 2;
  expect_refused(sgx, Errc::evidence_unsupported, "does not belong");
}

TEST(Quote, RefusesABodySizeThatIsNotTheTypes) {
  auto bytes = sample_v5();
  bytes[50] ^= 1;
  expect_refused(bytes, Errc::evidence_malformed, "648 bytes expected");
}

TEST(Quote, RefusesASectionLongerThanTheInput) {
  auto bytes = sample_v3();
  bytes[kV3SectionSize] = static_cast<std::uint8_t>(bytes[kV3SectionSize] + 1);
  expect_refused(bytes, Errc::evidence_malformed, "the signature section");
}

TEST(Quote, RefusesTheLargestSectionSize) {
  auto bytes = sample_v3();
  for (std::size_t i = 0; i < 4; ++i) bytes[kV3SectionSize + i] = 0xFF;
  expect_refused(bytes, Errc::evidence_malformed, "the signature section");
}

TEST(Quote, RefusesASectionWithRoomToSpare) {
  auto v3 = sample_v3();
  v3[kV3SectionSize] = static_cast<std::uint8_t>(v3[kV3SectionSize] + 1);
  v3.push_back(0);
  expect_refused(v3, Errc::evidence_malformed, "1 bytes after the certification data");
  auto v4 = sample_v4();
  v4[kV4TdSectionSize] = static_cast<std::uint8_t>(v4[kV4TdSectionSize] + 1);
  v4.push_back(0);
  expect_refused(v4, Errc::evidence_malformed, "certification data of type 6");
}

TEST(Quote, RefusesAnotherWrapper) {
  auto bytes = sample_v4();
  bytes[kV4TdWrapper] = 5;
  expect_refused(bytes, Errc::evidence_unsupported, "type 6 expected");
}

TEST(Quote, RefusesAWrapperThatDoesNotFillTheSection) {
  auto bytes = sample_v4();
  bytes[kV4TdWrapper + 2] ^= 1;
  expect_refused(bytes, Errc::evidence_malformed, "certification data of type 6");
}

TEST(Quote, RefusesUnknownCertificationTypes) {
  for (const auto type : std::initializer_list<std::uint8_t>{0, 7}) {
    auto bytes = sample_v3();
    bytes[kV3AuthSize + 2 + 32] = type;
    expect_refused(bytes, Errc::evidence_unsupported, "type 1 to 6");
  }
}

TEST(Quote, RefusesANestedWrapper) {
  auto bytes = sample_v3();
  bytes[kV3AuthSize + 2 + 32] = 6;
  expect_refused(bytes, Errc::evidence_unsupported, "type 6 inside");
}

TEST(Quote, RefusesAuthenticationDataBeyondTheEnd) {
  auto bytes = sample_v3();
  bytes[kV3AuthSize + 1] = 0xFF;
  expect_refused(bytes, Errc::evidence_malformed, "the QE authentication data");
}

TEST(Quote, RefusesAQuoteBeyondTheSizeLimit) {
  auto content = sample_quote(3, BodyType::sgx);
  content.signature.certification.data.resize(kMaxQuoteSize - kMinQuoteSize - content.signature.qe_auth_data.size());
  auto bytes = *encode_quote(content);
  ASSERT_EQ(bytes.size(), kMaxQuoteSize);
  EXPECT_TRUE(parse_quote(bytes));
  bytes.push_back(0);
  const auto sizes = {kV3SectionSize, kV3AuthSize + 2 + 32 + 2};
  for (const auto at : sizes) ++bytes[at];  // both sizes say one byte more
  expect_refused(bytes, Errc::limit_exceeded, "at most");
}

TEST(Quote, TakesAuthenticationDataOfAnyLength) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{0xFFFF}}) {
    auto content = sample_quote(4, BodyType::td10);
    content.signature.qe_auth_data.assign(size, 0x5A);
    const auto quote = parse_quote(*encode_quote(content));
    ASSERT_TRUE(quote) << quote.error().text();
    EXPECT_EQ(quote->signature().qe_auth_data.size(), size);
  }
}

TEST(Quote, TakesEveryCertificationType) {
  for (const auto type : std::initializer_list<std::uint16_t>{1, 2, 3, 4, 5}) {
    auto content = sample_quote(5, BodyType::td15);
    content.signature.certification = {CertificationType{type}, Bytes(404, 1)};
    const auto quote = parse_quote(*encode_quote(content));
    ASSERT_TRUE(quote) << type;
    EXPECT_EQ(quote->signature().certification, content.signature.certification);
  }
}

TEST(QuoteEncoder, RefusesBodiesThatTheVersionDoesNotHave) {
  const std::vector<std::pair<std::uint16_t, BodyType>> impossible{
      {2, BodyType::sgx}, {3, BodyType::td10}, {4, BodyType::td15}, {4, BodyType::td15_ex}, {6, BodyType::td10}};
  for (const auto& [version, type] : impossible) {
    const auto bytes = encode_quote(sample_quote(version, type));
    ASSERT_FALSE(bytes) << version;
    EXPECT_EQ(bytes.error().code(), Errc::invalid_argument);
  }
}

TEST(QuoteEncoder, RefusesATeeThatIsNotTheBodys) {
  auto content = sample_quote(5, BodyType::td15);
  content.header.tee = TeeType::sgx;
  EXPECT_EQ(encode_quote(content).error().code(), Errc::invalid_argument);
}

TEST(QuoteEncoder, RefusesWhatDoesNotFitItsLength) {
  auto auth = sample_quote(4, BodyType::td10);
  auth.signature.qe_auth_data.resize(0x10000);
  EXPECT_EQ(encode_quote(auth).error().code(), Errc::invalid_argument);
  auto certification = sample_quote(4, BodyType::td10);
  certification.signature.certification.data.resize(kMaxQuoteSize);
  EXPECT_EQ(encode_quote(certification).error().code(), Errc::limit_exceeded);
  auto nested = sample_quote(4, BodyType::td10);
  nested.signature.certification.type = CertificationType::qe_report;
  EXPECT_EQ(encode_quote(nested).error().code(), Errc::invalid_argument);
}

TEST(SgxReport, StandsAtTheOffsetsOfTheManual) {
  const auto report = sample_sgx_report(1);
  const auto bytes = encode_sgx_report(report);
  const auto at = [&](std::size_t offset, ByteView field) {
    return same_bytes(ByteView{bytes}.subspan(offset, field.size()), field);
  };
  EXPECT_TRUE(at(0, report.cpu_svn));
  EXPECT_EQ(bytes[16], report.misc_select & 0xFF);
  EXPECT_TRUE(at(32, report.isv_ext_prod_id));
  EXPECT_TRUE(at(48, report.attributes));
  EXPECT_TRUE(at(64, report.mr_enclave));
  EXPECT_TRUE(at(128, report.mr_signer));
  EXPECT_TRUE(at(192, report.config_id));
  EXPECT_EQ(bytes[256], report.isv_prod_id & 0xFF);
  EXPECT_EQ(bytes[258], report.isv_svn & 0xFF);
  EXPECT_EQ(bytes[260], report.config_svn & 0xFF);
  EXPECT_TRUE(at(304, report.isv_family_id));
  EXPECT_TRUE(at(320, report.report_data));
}

TEST(SgxReport, ReadsFlagsAndXfrmLittleEndian) {
  SgxReport report;
  report.attributes = {0x07, 0x04, 0, 0, 0, 0, 0, 0, 0xE7, 0x02, 0, 0, 0, 0, 0, 0x80};
  EXPECT_EQ(report.flags(), sgx_flag::kInit | sgx_flag::kDebug | sgx_flag::kMode64 | sgx_flag::kAexNotify);
  EXPECT_EQ(report.xfrm(), 0x80000000000002E7U);
  EXPECT_TRUE(report.debug());
  report.attributes[0] = 0x05;
  EXPECT_FALSE(report.debug());
}

TEST(SgxReport, RefusesAnotherSize) {
  const auto bytes = encode_sgx_report(sample_sgx_report(1));
  EXPECT_EQ(parse_sgx_report(ByteView{bytes}.first(383)).error().code(), Errc::evidence_malformed);
  auto longer = to_bytes(bytes);
  longer.push_back(0);
  EXPECT_EQ(parse_sgx_report(longer).error().code(), Errc::evidence_malformed);
}

TEST(TdBody, StandsAtTheOffsetsOfTheManual) {
  const auto body = sample_body(BodyType::td15_ex);
  const auto& td = std::get<TdBody>(body);
  auto content = sample_quote(5, BodyType::td15_ex);
  content.body = body;
  const auto bytes = *encode_signed_part(content.header, content.body);
  const auto at = [&](std::size_t offset, ByteView field) {
    return same_bytes(ByteView{bytes}.subspan(54 + offset, field.size()), field);
  };
  EXPECT_TRUE(at(0, td.tee_tcb_svn));
  EXPECT_TRUE(at(16, td.mr_seam));
  EXPECT_TRUE(at(64, td.mr_signer_seam));
  EXPECT_TRUE(at(112, td.seam_attributes));
  EXPECT_EQ(bytes[54 + 120], td.td_attributes & 0xFF);
  EXPECT_EQ(bytes[54 + 128], td.xfam & 0xFF);
  EXPECT_TRUE(at(136, td.mr_td));
  EXPECT_TRUE(at(184, td.mr_config_id));
  EXPECT_TRUE(at(232, td.mr_owner));
  EXPECT_TRUE(at(280, td.mr_owner_config));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(at(328 + 48 * i, td.rtmr[i]));
  EXPECT_TRUE(at(520, td.report_data));
  EXPECT_TRUE(at(584, td.v15->tee_tcb_svn2));
  EXPECT_TRUE(at(600, td.v15->mr_service_td));
  EXPECT_EQ(bytes[54 + 648], td.v15->ex->vm_id);
  EXPECT_TRUE(at(649, td.v15->ex->td_id));
  EXPECT_TRUE(at(877, td.v15->ex->current_servtd_attributes));
}

}  // namespace
}  // namespace cloister::evidence
