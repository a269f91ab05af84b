#include "cloister/lab_service/byte_map.hpp"

#include "lab.hpp"

namespace cloister::lab_service::test {
namespace {

class ByteMaps : public Lab {};

/// Every byte is in one field.
void expect_whole(const ByteMap& map, std::size_t size) {
  std::size_t at = 0;
  for (const auto& field : map.fields) {
    EXPECT_EQ(field.offset, at) << field.name;
    at += field.size;
  }
  EXPECT_EQ(at, size);
}

const ByteField& field_of(const ByteMap& map, std::string_view name) {
  for (const auto& field : map.fields) {
    if (field.name == name) return field;
  }
  ADD_FAILURE() << name;
  return map.fields.front();
}

TEST_F(ByteMaps, NameEveryByteOfAQuote) {
  const auto made = service_.enclaves.attest("e", "v1", std::nullopt).value();
  const auto quote = evidence::parse_quote(made.quote).value();
  const auto map = map_quote(quote).value();
  expect_whole(map, made.quote.size());
  EXPECT_EQ(map.format, "quote-v3");
  EXPECT_EQ(map.signed_size, 432U);
  EXPECT_EQ(field_of(map, "header.version").value, "3");
  EXPECT_EQ(field_of(map, "body.mr_enclave").offset, 48U + 64U);
  EXPECT_EQ(field_of(map, "body.mr_enclave").value, codec::to_hex(made.mrenclave));
  EXPECT_EQ(field_of(map, "body.report_data").value, codec::to_hex(made.report_data));
  EXPECT_EQ(field_of(map, "signature.signature").value, codec::to_hex(quote.signature().signature));
  EXPECT_EQ(field_of(map, "signature.qe_report_signature").value, codec::to_hex(quote.signature().qe_report_signature));
  EXPECT_EQ(field_of(map, "signature.certification.type").value, "5");
  EXPECT_THAT(field_of(map, "signature.certification.data").value, testing::StartsWith("-----BEGIN CERTIFICATE"));
}

TEST_F(ByteMaps, RefuseQuotesOfOtherVersions) {
  const auto made = service_.enclaves.attest("e", "v1", std::nullopt).value();
  auto content = evidence::parse_quote(made.quote)->content();
  content.header.version = 4;
  const auto other = evidence::parse_quote(evidence::encode_quote(content).value()).value();
  EXPECT_EQ(map_quote(other).error().code(), Errc::unsupported);
}

TEST_F(ByteMaps, NameEveryByteOfAReport) {
  const auto vm = launch();
  const auto made = service_.vms.attest(vm, std::nullopt).value();
  const auto report = evidence::parse_snp_report(made.report).value();
  const auto map = map_report(report);
  expect_whole(map, evidence::kSnpReportSize);
  EXPECT_EQ(map.format, "snp-report-v5");
  EXPECT_EQ(field_of(map, "measurement").offset, 0x90U);
  EXPECT_EQ(field_of(map, "measurement").value, codec::to_hex(made.launch_digest));
  EXPECT_EQ(field_of(map, "chip_id").offset, 0x1A0U);
  EXPECT_EQ(field_of(map, "chip_id").value, codec::to_hex(report.body().chip_id));
  EXPECT_EQ(field_of(map, "launch_tcb").offset, 0x1F0U);
  EXPECT_EQ(field_of(map, "signature.r").offset, evidence::kSnpSignedSize);
  EXPECT_EQ(field_of(map, "policy").value, "0x30000");
  EXPECT_EQ(field_of(map, "family_id").value, std::string(32, '0'));
}

TEST_F(ByteMaps, AreServedForTheLastEvidence) {
  EXPECT_EQ(get("/evidence/last").status, 404);
  const auto quote = post("/enclave/attest", R"({"enclave_name":"e"})")["quote"];
  EXPECT_EQ(get("/evidence/last")["evidence"], quote);
  EXPECT_EQ(get("/evidence/last")["tee"], "sgx");
  const auto vm = launch();
  const auto report = get("/vms/" + vm + "/report")["report"];
  EXPECT_EQ(get("/evidence/last")["evidence"], report);
  EXPECT_EQ(get("/evidence/last")["subject"], vm);
}

}  // namespace
}  // namespace cloister::lab_service::test
