#include <gtest/gtest.h>

#include <set>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/lab/tdx.hpp"
#include "cloister/measure/rtmr.hpp"
#include "support/support.hpp"

/// Every file of vectors/lab/tdx: what real machines and other tools computed, and what the lab does.
namespace cloister::lab::tdx {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

class TdxVectors : public ::testing::Test {
 protected:
  void SetUp() override {
    CLOISTER_VECTORS_OR_SKIP(root);
    folder_ = root / "lab/tdx";
    expected_ = json::parse(test::read_text(folder_ / "expected.json")).value();
  }
  [[nodiscard]] Bytes file(const std::string& name) const { return test::read_file(folder_ / name); }
  [[nodiscard]] std::string text(const char* row, const std::string& member) const {
    return *expected_.find(row)->find(member)->as_string();
  }
  [[nodiscard]] std::int64_t number(const char* row, const std::string& member) const {
    return *expected_.find(row)->find(member)->as_int();
  }
  /// MRTD of a TD that this machine builds of the firmware.
  [[nodiscard]] std::string built(ByteView firmware, measure::TdvfProfile profile) const {
    return codec::to_hex(launch_firmware(machine_, {}, firmware, profile).value().mrtd());
  }
  void expect_both_orders(ByteView firmware, const json::Value& row, const char* single, const char* two) const {
    using measure::TdvfProfile;
    EXPECT_EQ(codec::to_hex(measure::mrtd_of_tdvf(firmware, TdvfProfile::single_pass).value()), *row.find(single)->as_string());
    EXPECT_EQ(codec::to_hex(measure::mrtd_of_tdvf(firmware, TdvfProfile::two_pass).value()), *row.find(two)->as_string());
    EXPECT_EQ(built(firmware, TdvfProfile::single_pass), *row.find(single)->as_string());
    EXPECT_EQ(built(firmware, TdvfProfile::two_pass), *row.find(two)->as_string());
  }

  fs::path folder_;
  json::Value expected_;
  ModuleInfo info_;
  ReportKey key_{crypto::Secret<32>{ByteArray<32>{1}}};
  std::shared_ptr<Machine> machine_ = std::make_shared<Machine>(info_, key_);
};

TEST_F(TdxVectors, AreTheOnesThatAreTestedHere) {
  const std::set<std::string> known{"cos113_ccel_data.dat", "cos113_ccel_table.dat", "cos113_nonce.dat",
                                    "cos113_tdx_quote_v4.dat", "debian_ovmf_expected.json", "dstack_ccel.bin",
                                    "expected.json", "tdvf1.bin", "tdvf2.bin", "tdvf_expected.json",
                                    "tdx_prod_quote_SPR_E4.dat"};
  std::set<std::string> there;
  for (const auto& entry : fs::directory_iterator{folder_}) there.insert(entry.path().filename().string());
  EXPECT_EQ(there, known);
}

TEST_F(TdxVectors, RealMachineLogLeadsToItsQuote) {
  const auto log = evidence::parse_ccel(file("cos113_ccel_data.dat")).value();
  const auto quote = evidence::parse_quote(file("cos113_tdx_quote_v4.dat")).value();
  EXPECT_EQ(log.size(), static_cast<std::size_t>(number("cos113", "events")));
  const auto registers = measure::replay(log);
  EXPECT_EQ(registers, quote.td()->rtmr);
  for (std::size_t i = 0; i < registers.size(); ++i) {
    EXPECT_EQ(codec::to_hex(registers[i]), text("cos113", "rtmr" + std::to_string(i)));
  }
  EXPECT_EQ(codec::to_hex(quote.td()->mr_td), text("cos113", "mrtd_in_quote"));
  EXPECT_TRUE(same_bytes(quote.td()->report_data, file("cos113_nonce.dat")));
  EXPECT_EQ(quote.trailing_bytes(), 3065U);
  const auto table = evidence::parse_ccel_table(file("cos113_ccel_table.dat")).value();
  EXPECT_EQ(table.log_size, file("cos113_ccel_data.dat").size());
}

TEST_F(TdxVectors, RegistersOfALabTdFollowARealLog) {
  const auto log = evidence::parse_ccel(file("cos113_ccel_data.dat")).value();
  const Bytes program(100, 1);
  const std::vector<measure::TdFile> files{{"firmware", 0755, program}};
  auto td = launch(machine_, {}, files).value();
  for (const auto& event : log) {
    if (!event.extends()) continue;
    ASSERT_TRUE(td.tdg_mr_rtmr_extend(GuestLevel::boot, *event.rtmr, event.digest).ok());
  }
  EXPECT_EQ(td.rtmrs(), measure::replay(log));
}

TEST_F(TdxVectors, OtherLogReplays) {
  const auto log = evidence::parse_ccel(file("dstack_ccel.bin")).value();
  EXPECT_EQ(log.size(), static_cast<std::size_t>(number("dstack_ccel.bin", "events")));
  const auto registers = measure::replay(log);
  for (const std::size_t i : {0U, 1U, 2U}) {
    EXPECT_EQ(codec::to_hex(registers[i]), text("dstack_ccel.bin", "rtmr" + std::to_string(i)));
  }
}

TEST_F(TdxVectors, RealQuoteIsSignedAsTheLabsAre) {
  constexpr const char* kName = "tdx_prod_quote_SPR_E4.dat";
  const auto quote = evidence::parse_quote(file(kName)).value();
  EXPECT_EQ(quote.header().version, number(kName, "v"));
  EXPECT_EQ(codec::to_hex(quote.td()->mr_td), text(kName, "mrtd"));
  EXPECT_EQ("[0:" + std::to_string(quote.signed_bytes().size()) + "]", text(kName, "signed"));
  const auto key = crypto::EcPublicKey::from_xy(crypto::Curve::p256, quote.signature().attestation_key).value();
  EXPECT_EQ(key.verify(quote.signed_bytes(), quote.signature().signature).ok(), text(kName, "sig") == "valid");
  EXPECT_EQ(static_cast<int>(quote.signature().certification.type), number(kName, "inner"));
  EXPECT_EQ(static_cast<std::int64_t>(quote.trailing_bytes()), number(kName, "trailing"));
}

TEST_F(TdxVectors, ExtensionIsTheModules) {
  EXPECT_EQ(codec::to_hex(measure::rtmr_extend({}, crypto::sha384(ByteArray<4>{}))), text("rtmr_extend_separator0", "value"));
}

TEST_F(TdxVectors, FirmwareHasAMeasurementForEachOrderOfPages) {
  const auto expected = json::parse(test::read_text(folder_ / "tdvf_expected.json")).value();
  for (const auto* name : {"tdvf1", "tdvf2"}) {
    SCOPED_TRACE(name);
    const auto firmware = file(std::string{name} + ".bin");
    const auto* row = expected.find(name);
    EXPECT_EQ(codec::to_hex(crypto::sha256(firmware)), *row->find("sha256")->as_string());
    expect_both_orders(firmware, *row, "single", "two_pass");
  }
}

TEST_F(TdxVectors, FirmwareOfThisDistributionBoots) {
  const auto expected = json::parse(test::read_text(folder_ / "debian_ovmf_expected.json")).value();
  unsigned found = 0;
  for (const auto& row : *expected.find("files")->as_array()) {
    const fs::path path = *row.find("file")->as_string();
    if (row.find("mrtd_single") == nullptr || !fs::exists(path)) continue;
    const auto firmware = test::read_file(path);
    if (codec::to_hex(crypto::sha256(firmware)) != *row.find("sha256")->as_string()) continue;
    expect_both_orders(firmware, row, "mrtd_single", "mrtd_two_pass");
    ++found;
  }
  if (found == 0) GTEST_SKIP() << "the package ovmf of that version is not installed";
}

}  // namespace
}  // namespace cloister::lab::tdx
