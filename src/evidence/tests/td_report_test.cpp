#include "cloister/evidence/td_report.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/hash.hpp"
#include "samples.hpp"
#include "support/support.hpp"

namespace cloister::evidence {
namespace {

using test::sample_td_report;

TEST(TdReport, RoundTrips) {
  const auto report = sample_td_report();
  const auto bytes = encode_td_report(report);
  ASSERT_EQ(bytes.size(), kTdReportSize);
  const auto read = parse_td_report(bytes);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(*read, report);
}

TEST(TdReport, StandsAtTheOffsetsOfTheManual) {
  const auto report = sample_td_report();
  const auto bytes = encode_td_report(report);
  const auto at = [&](std::size_t offset, ByteView field) {
    return same_bytes(ByteView{bytes}.subspan(offset, field.size()), field);
  };
  EXPECT_EQ(bytes[0], kReportTypeTdx);
  EXPECT_TRUE(at(16, report.mac.cpu_svn));
  EXPECT_TRUE(at(32, report.mac.tee_tcb_info_hash));
  EXPECT_TRUE(at(80, report.mac.tee_info_hash));
  EXPECT_TRUE(at(128, report.mac.report_data));
  EXPECT_TRUE(at(224, report.mac.mac));
  EXPECT_TRUE(at(256 + 8, report.tcb.tee_tcb_svn));
  EXPECT_TRUE(at(256 + 24, report.tcb.mr_seam));
  EXPECT_TRUE(at(256 + 72, report.tcb.mr_signer_seam));
  EXPECT_TRUE(at(256 + 120, report.tcb.attributes));
  EXPECT_TRUE(at(256 + 128, report.tcb.tee_tcb_svn2));
  EXPECT_EQ(bytes[512], report.info.attributes & 0xFF);
  EXPECT_TRUE(at(512 + 16, report.info.mr_td));
  EXPECT_TRUE(at(512 + 208, report.info.rtmr[0]));
  EXPECT_TRUE(at(512 + 400, report.info.servtd_hash));
}

TEST(TdReport, RealReportsHashTheirParts) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  constexpr std::size_t kHclHeadSize = 32;  // Azure puts the report behind a head of its own
  const std::vector<std::pair<const char*, std::size_t>> files{
      {"tdx/attestation-rs/tdx_tdreport_live.bin", 0},
      {"az-tdx-vtpm/trustee/hcl-report.bin", kHclHeadSize},
      {"az-tdx-vtpm/azure-cvm-tooling/hcl-report-tdx.bin", kHclHeadSize},
  };
  for (const auto& [name, offset] : files) {
    SCOPED_TRACE(name);
    const auto file = cloister::test::read_file(vectors / "attestation" / name);
    const auto bytes = to_bytes(ByteView{file}.subspan(offset, kTdReportSize));
    const auto report = parse_td_report(bytes);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_EQ(encode_td_report(*report), bytes);
    EXPECT_EQ(report->mac.tee_info_hash, crypto::sha384(encode_td_info(report->info)));
    EXPECT_EQ(report->mac.tee_tcb_info_hash, crypto::sha384(encode_tee_tcb_info(report->tcb)));
  }
}

TEST(TdReport, RefusesAnotherSize) {
  auto bytes = encode_td_report(sample_td_report());
  EXPECT_EQ(parse_td_report(ByteView{bytes}.first(1023)).error().code(), Errc::evidence_malformed);
  bytes.push_back(0);
  EXPECT_EQ(parse_td_report(bytes).error().code(), Errc::evidence_malformed);
}

TEST(TdReport, RefusesAnotherType) {
  auto bytes = encode_td_report(sample_td_report());
  bytes[0] = 0x00;
  EXPECT_EQ(parse_td_report(bytes).error().code(), Errc::evidence_unsupported);
}

TEST(TdReport, RefusesAnotherSubtype) {
  auto bytes = encode_td_report(sample_td_report());
  bytes[1] = 1;
  EXPECT_EQ(parse_td_report(bytes).error().code(), Errc::evidence_unsupported);
}

TEST(TdReport, RefusesALaterVersion) {
  auto bytes = encode_td_report(sample_td_report());
  bytes[2] = 2;
  EXPECT_EQ(parse_td_report(bytes).error().code(), Errc::evidence_unsupported);
}

}  // namespace
}  // namespace cloister::evidence
