// The ioctls of /dev/sev-guest against recordings: reports of hardware among the public vectors, and the layouts
// against the header of this machine's kernel.
#include "cloister/device/snp_device.hpp"

#include <gtest/gtest.h>
#include <linux/sev-guest.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstring>

#include "cloister/codec/cursor.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "recorded_kernel.hpp"
#include "support/support.hpp"

namespace cloister::device {
namespace {

const std::filesystem::path kDevice{kSevGuest};

Digest64 question() {
  Digest64 out;
  out.fill(0x5A);
  return out;
}

Bytes report_over(const Digest64& data) {
  Bytes out(1184, 3);
  std::ranges::copy(data, out.begin() + 0x50);
  return out;
}

Bytes response(ByteView report, std::uint32_t status = 0, std::uint32_t size = 1184) {
  codec::Writer out;
  out.u32le(status);
  out.u32le(size);
  out.zeros(24);
  out.raw(report);
  out.zeros(4000 - out.size());
  return std::move(out).take();
}

Bytes table(std::initializer_list<std::pair<std::uint8_t, Bytes>> certificates) {
  codec::Writer out;
  auto offset = static_cast<std::uint32_t>((certificates.size() + 1) * 24);
  for (const auto& [guid, content] : certificates) {
    out.raw(ByteArray<16>{guid});
    out.u32le(offset);
    out.u32le(static_cast<std::uint32_t>(content.size()));
    offset += static_cast<std::uint32_t>(content.size());
  }
  out.zeros(24);
  for (const auto& [guid, content] : certificates) out.raw(content);
  return std::move(out).take();
}

class SnpDeviceTest : public ::testing::Test {
 protected:
  /// Of the next request: what the firmware and the host answer.
  void answer(Bytes data, Bytes certificates = {}) {
    kernel_.devices[kDevice] = [this, data = std::move(data), certificates = std::move(certificates)](unsigned long number,
                                                                                                     void* argument) {
      number_ = number;
      snp_guest_request_ioctl call{};
      std::memcpy(&call, argument, sizeof call);
      version_ = call.msg_version;
      if (number == SNP_GET_DERIVED_KEY) {
        std::memcpy(&key_, reinterpret_cast<const void*>(call.req_data), sizeof key_);
      } else if (number == SNP_GET_EXT_REPORT) {
        std::memcpy(&extended_, reinterpret_cast<const void*>(call.req_data), sizeof extended_);
        report_ = extended_.data;
        std::copy_n(certificates.begin(), certificates.size(), reinterpret_cast<std::uint8_t*>(extended_.certs_address));
      } else {
        std::memcpy(&report_, reinterpret_cast<const void*>(call.req_data), sizeof report_);
      }
      std::copy_n(data.begin(), data.size(), reinterpret_cast<std::uint8_t*>(call.resp_data));
      return 0;
    };
  }
  void fail(int error, std::uint32_t firmware, std::uint32_t host) {
    kernel_.devices[kDevice] = [=](unsigned long number, void* argument) {
      auto* const bytes = static_cast<std::uint8_t*>(argument);
      std::memcpy(bytes + 24, &firmware, 4);
      std::memcpy(bytes + 28, &host, 4);
      if (number == SNP_GET_EXT_REPORT && host == 1) {
        snp_guest_request_ioctl call{};
        std::memcpy(&call, argument, sizeof call);
        reinterpret_cast<snp_ext_report_req*>(call.req_data)->certs_len = 20480;
      }
      return -error;
    };
  }
  testing::RecordedKernel kernel_;
  test::SeededRandom random_{1};
  SnpDevice device_{kernel_, random_, SnpDevice::Way::sev_guest, kDevice};
  unsigned long number_ = 0;
  int version_ = 0;
  snp_report_req report_{};
  snp_ext_report_req extended_{};
  snp_derived_key_req key_{};
};

TEST(SnpLayout, IsThatOfTheKernel) {
  EXPECT_EQ(sizeof(snp_guest_request_ioctl), 32U);
  EXPECT_EQ(offsetof(snp_guest_request_ioctl, req_data), 8U);
  EXPECT_EQ(offsetof(snp_guest_request_ioctl, resp_data), 16U);
  EXPECT_EQ(sizeof(snp_report_req), 96U);
  EXPECT_EQ(sizeof(snp_report_resp), 4000U);
  EXPECT_EQ(sizeof(snp_derived_key_req), 32U);
  EXPECT_EQ(sizeof(snp_derived_key_resp), 64U);
  EXPECT_EQ(sizeof(snp_ext_report_req), 112U);
  EXPECT_EQ(offsetof(snp_ext_report_req, certs_address), 96U);
  EXPECT_EQ(offsetof(snp_ext_report_req, certs_len), 104U);
}

TEST_F(SnpDeviceTest, AsksForReports) {
  answer(response(report_over(question())));
  const auto report = device_.attestation_report(question(), 2);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(*report, report_over(question()));
  EXPECT_EQ(number_, SNP_GET_REPORT);
  EXPECT_EQ(version_, 1);
  EXPECT_TRUE(same_bytes(report_.user_data, question()));
  EXPECT_EQ(report_.vmpl, 2U);
  EXPECT_TRUE(all_zero(report_.rsvd));
  EXPECT_EQ(device_.attestation_report(question(), 4).error().code(), Errc::invalid_argument);
}

TEST_F(SnpDeviceTest, QuotesWithTheHostsCertificates) {
  const auto certificates = table({{1, Bytes(100, 8)}, {2, Bytes(50, 9)}});
  answer(response(report_over(question())), certificates);
  const auto quote = device_.quote(question());
  ASSERT_TRUE(quote) << quote.error().text();
  EXPECT_EQ(number_, SNP_GET_EXT_REPORT);
  EXPECT_EQ(extended_.certs_len, 16384U);
  EXPECT_EQ(quote->evidence, report_over(question()));
  EXPECT_EQ(quote->collateral, certificates) << "the table alone, not the buffer";
  answer(response(report_over(question())));
  EXPECT_FALSE(device_.quote(question())->collateral) << "a host that has none";
}

TEST_F(SnpDeviceTest, ReadsReportsOfHardware) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  for (const auto* file : {"trustee/test-report.bin", "trustee/test-vlek-report.bin", "tav/genoa_attestation_report.bin",
                           "tav/milan_attestation_report.bin"}) {
    const auto recorded = test::read_file(vectors / "attestation/snp" / file);
    ASSERT_EQ(recorded.size(), 1184U) << file;
    answer(response(recorded));
    const auto quote = device_.quote(to_array<64>(ByteView{recorded}.subspan(0x50, 64)));
    ASSERT_TRUE(quote) << file << ": " << quote.error().text();
    EXPECT_TRUE(evidence::parse_snp_report(quote->evidence)) << file;
  }
}

TEST_F(SnpDeviceTest, RefusesWhatIsNoAnswer) {
  answer(response(report_over(question()), 0x16));
  EXPECT_NE(device_.quote(question()).error().detail().find("0x16"), std::string::npos);
  answer(response(report_over(question()), 0x27));
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::tee_failure);
  answer(response(report_over(question()), 1));
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::tee_failure);
  answer(response(report_over(question()), 0, 1183));
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::tee_failure);
  answer(response(report_over(Digest64{1})));
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::tee_failure);
  EXPECT_EQ(device_.attestation_report(question(), 0).error().code(), Errc::tee_failure);
}

TEST_F(SnpDeviceTest, HandsOnWhatFirmwareHostAndKernelSay) {
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::unsupported);
  fail(EIO, 0x16, 0);
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::tee_failure);
  fail(0, 0x16, 0);
  EXPECT_EQ(device_.attestation_report(question(), 0).error().code(), Errc::tee_failure) << "whatever the call returned";
  fail(EIO, 0, 2);
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::unavailable);
  fail(EIO, 0, 1);
  const auto large = device_.quote(question());
  EXPECT_EQ(large.error().code(), Errc::tee_failure);
  EXPECT_NE(large.error().detail().find("20480"), std::string::npos) << large.error().detail();
  fail(ENOTTY, 0, 0);
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::unsupported);
  kernel_.refused[kDevice] = EPERM;
  EXPECT_EQ(device_.quote(question()).error().code(), Errc::permission_denied);
}

TEST_F(SnpDeviceTest, DerivesKeys) {
  codec::Writer out;
  out.zeros(32);
  out.raw(ByteArray<32>{7, 7});
  answer(std::move(out).take());
  SnpKeyRequest request;
  request.from_vmrk = true;
  request.fields = 8 | 32;
  request.vmpl = 1;
  request.guest_svn = 2;
  request.tcb = 0x0102030405060708;
  const auto key = device_.derived_key(request);
  ASSERT_TRUE(key) << key.error().text();
  EXPECT_TRUE(crypto::equal(key->reveal(), ByteArray<32>{7, 7}));
  EXPECT_EQ(number_, SNP_GET_DERIVED_KEY);
  EXPECT_EQ(key_.root_key_select, 1U);
  EXPECT_EQ(key_.rsvd, 0U);
  EXPECT_EQ(key_.guest_field_select, 40U);
  EXPECT_EQ(key_.vmpl, 1U);
  EXPECT_EQ(key_.guest_svn, 2U);
  EXPECT_EQ(key_.tcb_version, 0x0102030405060708U);
  request.vmpl = 4;
  EXPECT_EQ(device_.derived_key(request).error().code(), Errc::invalid_argument);
  request.vmpl = 0;
  request.fields = 64;
  EXPECT_EQ(device_.derived_key(request).error().code(), Errc::invalid_argument);
}

TEST_F(SnpDeviceTest, RefusesKeysThatAreNone) {
  answer(Bytes(64));
  EXPECT_EQ(device_.derived_key({}).error().code(), Errc::tee_failure) << "zeros";
  Bytes refused(64, 1);
  refused[0] = 0x16;
  answer(refused);
  EXPECT_EQ(device_.derived_key({}).error().code(), Errc::tee_failure);
  fail(EIO, 0x27, 0);
  EXPECT_EQ(device_.derived_key({}).error().code(), Errc::tee_failure);
}

TEST_F(SnpDeviceTest, HasNeitherLocalReportsNorRegisters) {
  answer(response(report_over(question())));
  EXPECT_EQ(device_.report(question()).error().code(), Errc::unsupported);
  EXPECT_EQ(device_.extend_rtmr(3, {}).error().code(), Errc::unsupported);
}

TEST_F(SnpDeviceTest, QuotesThroughConfigfsToo) {
  SnpDevice device{kernel_, random_, SnpDevice::Way::configfs_tsm, "/sys/kernel/config/tsm/report"};
  kernel_.provider = "sev_guest\n";
  kernel_.auxblob = table({{1, Bytes(10, 8)}});
  kernel_.make_report = [](ByteView inblob, unsigned) { return report_over(to_array<64>(inblob)); };
  const auto quote = device.quote(question());
  ASSERT_TRUE(quote) << quote.error().text();
  EXPECT_EQ(quote->evidence, report_over(question()));
  EXPECT_EQ(quote->collateral, kernel_.auxblob);
  kernel_.make_report = [](ByteView, unsigned) { return report_over(Digest64{1}); };
  EXPECT_EQ(device.quote(question()).error().code(), Errc::tee_failure);
  kernel_.provider = "tdx_guest\n";
  kernel_.make_report = [](ByteView, unsigned) { return Bytes(1184); };
  EXPECT_EQ(device.quote(question()).error().code(), Errc::tee_failure);
  EXPECT_EQ(device.derived_key({}).error().code(), Errc::unsupported);
  EXPECT_EQ(device.attestation_report(question(), 0).error().code(), Errc::unsupported);
}

TEST(SnpCertificateTable, TakesAsMuchAsItsEntriesSay) {
  auto bytes = table({{1, Bytes(100, 8)}, {2, Bytes(50, 9)}});
  const auto size = bytes.size();
  bytes.resize(4096);
  EXPECT_EQ(*snp_certificate_table_size(bytes), size);
  EXPECT_EQ(*snp_certificate_table_size(Bytes(24)), 0U);
  EXPECT_EQ(*snp_certificate_table_size(table({{1, {}}})), 48U);
}

TEST(SnpCertificateTable, RefusesEachBrokenOne) {
  const auto good = table({{1, Bytes(100, 8)}});
  const auto refuse = [](Bytes bytes) {
    const auto size = snp_certificate_table_size(bytes);
    return size ? Errc::internal : size.error().code();
  };
  EXPECT_EQ(refuse({}), Errc::tee_failure);
  EXPECT_EQ(refuse(Bytes(good.begin(), good.begin() + 47)), Errc::tee_failure) << "no last entry";
  EXPECT_EQ(refuse(Bytes(good.begin(), good.end() - 1)), Errc::tee_failure) << "a certificate cut off";
  auto outside = good;
  outside[19] = 0xFF;  // offset
  EXPECT_EQ(refuse(outside), Errc::tee_failure);
  auto length = good;
  length[23] = 0xFF;
  EXPECT_EQ(refuse(length), Errc::tee_failure);
  auto last = good;
  last[44] = 1;
  EXPECT_EQ(refuse(last), Errc::tee_failure);
  Bytes many(24 * 66, 0);
  for (std::size_t i = 0; i < 65; ++i) many[i * 24] = 1;
  EXPECT_EQ(refuse(many), Errc::tee_failure);
}

}  // namespace
}  // namespace cloister::device
