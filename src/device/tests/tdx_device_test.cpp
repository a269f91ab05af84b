// The calls against recordings: a TDREPORT of hardware among the public vectors.
#include "cloister/device/tdx_device.hpp"

#include <gtest/gtest.h>

#include "cloister/evidence/td_report.hpp"
#include "recorded_kernel.hpp"
#include "support/support.hpp"

namespace cloister::device {
namespace {

const std::filesystem::path kDevice{kTdxGuest};

Digest64 question() {
  Digest64 out;
  out.fill(0x5A);
  return out;
}

/// A TDREPORT_STRUCT over these bytes, of nobody's.
Bytes report_over(const Digest64& data) {
  Bytes out(1024);
  out[0] = 0x81;
  std::ranges::copy(data, out.begin() + 128);
  return out;
}

class TdxDeviceTest : public ::testing::Test {
 protected:
  void answer(Bytes report) {
    kernel_.devices[kDevice] = [this, report = std::move(report)](unsigned long number, void* argument) {
      number_ = number;
      auto* const bytes = static_cast<std::uint8_t*>(argument);
      asked_.assign(bytes, bytes + 64);
      std::copy_n(report.begin(), 1024, bytes + 64);
      return 0;
    };
  }
  testing::RecordedKernel kernel_;
  test::SeededRandom random_{1};
  TdxDevice device_{kernel_, random_};
  unsigned long number_ = 0;
  Bytes asked_;
};

TEST_F(TdxDeviceTest, AsksForAReportOfSubtype0) {
  answer(report_over(question()));
  const auto report = device_.report(question());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(*report, report_over(question()));
  EXPECT_EQ(number_, 0xC4405401UL) << "_IOWR('T', 1, 1088 bytes)";
  EXPECT_EQ(asked_, to_bytes(ByteView{question()}));
  EXPECT_EQ(kernel_.open_files, 0);
}

TEST_F(TdxDeviceTest, ReadsAReportOfHardware) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto recorded = test::read_file(vectors / "attestation/tdx/attestation-rs/tdx_tdreport_live.bin");
  ASSERT_EQ(recorded.size(), 1024U);
  answer(recorded);
  const auto report = device_.report(to_array<64>(ByteView{recorded}.subspan(128, 64)));
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(evidence::parse_td_report(*report));
  EXPECT_EQ(device_.report(question()).error().code(), Errc::tee_failure) << "over another question";
}

TEST_F(TdxDeviceTest, RefusesReportsThatAreNoAnswer) {
  auto other = report_over(question());
  other[128] ^= 1;
  answer(other);
  EXPECT_EQ(device_.report(question()).error().code(), Errc::tee_failure);
  auto sgx = report_over(question());
  sgx[0] = 0;
  answer(sgx);
  EXPECT_EQ(device_.report(question()).error().code(), Errc::tee_failure);
}

TEST_F(TdxDeviceTest, HandsOnWhatTheKernelSays) {
  EXPECT_EQ(device_.report(question()).error().code(), Errc::unsupported);
  kernel_.devices[kDevice] = [](unsigned long, void*) { return -EIO; };
  EXPECT_EQ(device_.report(question()).error().code(), Errc::tee_failure);
  kernel_.devices[kDevice] = [](unsigned long, void*) { return -ENOTTY; };
  EXPECT_EQ(device_.report(question()).error().code(), Errc::unsupported);
  kernel_.refused[kDevice] = EACCES;
  EXPECT_EQ(device_.report(question()).error().code(), Errc::permission_denied);
}

TEST_F(TdxDeviceTest, ExtendsTheRegistersOfPrograms) {
  const std::filesystem::path folder{kTdxMeasurements};
  Bytes written;
  kernel_.files[folder / "rtmr3:sha384"] = [&](ByteView bytes) {
    written = to_bytes(bytes);
    return static_cast<long>(bytes.size());
  };
  Digest48 digest;
  digest.fill(0xC3);
  EXPECT_TRUE(device_.extend_rtmr(3, digest));
  EXPECT_EQ(written, to_bytes(ByteView{digest}));
  EXPECT_EQ(device_.extend_rtmr(2, digest).error().code(), Errc::unsupported) << "a kernel before 6.16";
  EXPECT_EQ(device_.extend_rtmr(1, digest).error().code(), Errc::permission_denied);
  EXPECT_EQ(device_.extend_rtmr(4, digest).error().code(), Errc::invalid_argument);
  kernel_.files[folder / "rtmr3:sha384"] = [](ByteView) { return 47L; };
  EXPECT_EQ(device_.extend_rtmr(3, digest).error().code(), Errc::tee_failure);
  kernel_.files[folder / "rtmr3:sha384"] = [](ByteView) { return static_cast<long>(-EIO); };
  EXPECT_EQ(device_.extend_rtmr(3, digest).error().code(), Errc::tee_failure);
}

TEST_F(TdxDeviceTest, QuotesThroughConfigfs) {
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::unsupported);
  kernel_.provider = "tdx_guest\n";
  kernel_.make_report = [](ByteView inblob, unsigned) {
    Bytes out(700, 1);
    append(out, inblob);
    return out;
  };
  const auto quote = device_.quote(question());
  ASSERT_TRUE(quote) << quote.error().text();
  EXPECT_TRUE(same_bytes(ByteView{quote->evidence}.subspan(700), question()));
  EXPECT_FALSE(quote->collateral);
  kernel_.provider = "sev_guest\n";
  kernel_.make_report = [](ByteView, unsigned) { return Bytes(1184); };
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::tee_failure);
}

}  // namespace
}  // namespace cloister::device
