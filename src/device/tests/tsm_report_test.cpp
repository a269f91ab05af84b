#include "cloister/device/tsm_report.hpp"

#include <gtest/gtest.h>

#include "recorded_kernel.hpp"
#include "support/support.hpp"

namespace cloister::device {
namespace {

Digest64 question() {
  Digest64 out;
  out.fill(0x5A);
  return out;
}

class TsmReportsTest : public ::testing::Test {
 protected:
  TsmReportsTest() {
    kernel_.provider = "tdx_guest\n";
    kernel_.make_report = [this](ByteView inblob, unsigned privilege) {
      asked_.emplace_back(to_bytes(inblob), privilege);
      return Bytes(5000, 7);
    };
  }
  [[nodiscard]] Errc refusal(std::optional<unsigned> privilege = std::nullopt) {
    const auto report = reports_.report(question(), privilege);
    EXPECT_FALSE(report);
    return report ? Errc::internal : report.error().code();
  }
  ~TsmReportsTest() override {
    EXPECT_TRUE(kernel_.directories.empty()) << "every directory is removed";
    EXPECT_EQ(kernel_.open_files, 0);
  }
  testing::RecordedKernel kernel_;
  test::SeededRandom random_{1};
  TsmReports reports_{kernel_, random_};
  std::vector<std::pair<Bytes, unsigned>> asked_;
};

TEST_F(TsmReportsTest, MakesAReportInADirectoryOfItsOwn) {
  const auto report = reports_.report(question());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->provider, TsmProvider::tdx_guest);
  EXPECT_EQ(report->outblob, Bytes(5000, 7));
  EXPECT_FALSE(report->auxblob);
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_EQ(asked_[0].first, to_bytes(ByteView{question()}));
}

TEST_F(TsmReportsTest, HandsOnCertificatesAndThePrivilegeLevel) {
  kernel_.provider = "sev_guest\n";
  kernel_.has_privilege = true;
  kernel_.auxblob = Bytes{1, 2, 3};
  kernel_.make_report = [this](ByteView inblob, unsigned privilege) {
    asked_.emplace_back(to_bytes(inblob), privilege);
    return Bytes(1184, 1);
  };
  const auto report = reports_.report(question(), 2);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->provider, TsmProvider::sev_guest);
  EXPECT_EQ(report->auxblob, (Bytes{1, 2, 3}));
  EXPECT_EQ(asked_.at(0).second, 2U);
  kernel_.auxblob = Bytes{};
  EXPECT_FALSE(reports_.report(question())->auxblob) << "an empty one is none";
  EXPECT_EQ(refusal(4), Errc::invalid_argument);
}

TEST_F(TsmReportsTest, MakesItAgainWhenOthersWroteMeanwhile) {
  for (const std::string_view when : {"outblob", "auxblob"}) {
    kernel_.auxblob = Bytes{1};
    int times = 2;
    kernel_.made = 0;
    kernel_.meanwhile = [&](std::string_view attribute, std::uint64_t& generation) {
      if (attribute == when && times-- > 0) ++generation;
    };
    const auto report = reports_.report(question());
    ASSERT_TRUE(report) << when << ": " << report.error().text();
    EXPECT_EQ(kernel_.made, 3) << when;
  }
}

TEST_F(TsmReportsTest, GivesUpWhenOthersKeepWriting) {
  kernel_.meanwhile = [](std::string_view attribute, std::uint64_t& generation) {
    if (attribute == "outblob") ++generation;
  };
  EXPECT_EQ(refusal(), Errc::conflict);
}

TEST_F(TsmReportsTest, AWriteBetweenOursAndTheReadIsNoticed) {
  int looks = 0;
  kernel_.meanwhile = [&](std::string_view attribute, std::uint64_t& generation) {
    if (attribute == "generation" && ++looks == 2) ++generation;
  };
  ASSERT_TRUE(reports_.report(question()));
  EXPECT_EQ(kernel_.made, 2);
  EXPECT_EQ(asked_.size(), 1U) << "the first was not even read";
}

TEST_F(TsmReportsTest, NoticesThatTheCloseDidNotTakeTheBytes) {
  kernel_.deaf = true;
  EXPECT_EQ(refusal(), Errc::tee_failure);
}

TEST_F(TsmReportsTest, RefusesProvidersThatAreNotKnown) {
  for (const auto* name : {"arm_cca_guest\n", "tdx_guest2\n", "\n", "TDX_GUEST\n"}) {
    kernel_.provider = name;
    EXPECT_EQ(refusal(), Errc::unsupported) << name;
    EXPECT_EQ(reports_.provider().error().code(), Errc::unsupported);
  }
}

TEST_F(TsmReportsTest, RefusesBlobsThatAreNoReports) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{632}}) {
    kernel_.make_report = [=](ByteView, unsigned) { return Bytes(size); };
    EXPECT_EQ(refusal(), Errc::tee_failure) << size;
  }
  kernel_.make_report = [](ByteView, unsigned) { return Bytes((1U << 20) + 1); };
  EXPECT_EQ(refusal(), Errc::limit_exceeded);
  kernel_.provider = "sev_guest\n";
  for (const std::size_t size : {std::size_t{1183}, std::size_t{1185}}) {
    kernel_.make_report = [=](ByteView, unsigned) { return Bytes(size); };
    EXPECT_EQ(refusal(), Errc::tee_failure) << size;
  }
}

TEST_F(TsmReportsTest, HandsOnWhatTheKernelSays) {
  kernel_.outblob_error = EBUSY;
  EXPECT_EQ(refusal(), Errc::unavailable);
  kernel_.outblob_error = EFBIG;
  EXPECT_EQ(refusal(), Errc::tee_failure);
  kernel_.outblob_error = 0;
  kernel_.refused[kTsmReports] = ENXIO;
  EXPECT_EQ(refusal(), Errc::unsupported);
  kernel_.refused[kTsmReports] = EACCES;
  EXPECT_EQ(refusal(), Errc::permission_denied);
  kernel_.refused[kTsmReports] = EEXIST;
  EXPECT_EQ(refusal(), Errc::conflict);
  EXPECT_EQ(refusal(1), Errc::conflict);
  kernel_.refused.clear();
  EXPECT_EQ(refusal(1), Errc::unsupported) << "no levels here";
}

TEST(TsmAttributes, AreReadStrictly) {
  EXPECT_EQ(*decode_tsm_generation(as_bytes("0\n")), 0U);
  EXPECT_EQ(*decode_tsm_generation(as_bytes("18446744073709551615")), 18446744073709551615U);
  for (const auto* text : {"", "\n", "-1\n", "1 \n", "1\n\n", "0x1\n", "18446744073709551616\n"}) {
    EXPECT_EQ(decode_tsm_generation(as_bytes(text)).error().code(), Errc::tee_failure) << text;
  }
}

}  // namespace
}  // namespace cloister::device
