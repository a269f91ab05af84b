#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::cli {
namespace {

struct Ran {
  int code;
  std::string out;
  std::string err;
};

Ran cloister(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const test::FakeClock clock{from_civil(2026, 3, 1, 0, 0, 0).value()};
  const int code = run(std::move(arguments), out, err, clock);
  return {code, out.str(), err.str()};
}

void write(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream{path, std::ios::binary}.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST(MeasureCommand, FirmwareGivesOneLineOfHex) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/tdx/tdvf_expected.json")).value();
  const auto file = (root / "lab/tdx/tdvf1.bin").string();
  const auto single = *expected.find("tdvf1")->find("single")->as_string();
  EXPECT_EQ(cloister({"measure", "tdx", "--tdvf", file}).out, single + "\n");
  EXPECT_EQ(cloister({"measure", "tdx", "--tdvf", file, "--profile", "two-pass"}).out,
            *expected.find("tdvf1")->find("two_pass")->as_string() + "\n");
  const auto as_json = cloister({"measure", "tdx", "--tdvf", file, "--json"});
  EXPECT_EQ(*codec::json::parse(as_json.out).value().find("mrtd")->as_string(), single);
}

TEST(MeasureCommand, FirmwareOfThisDistributionIsMeasured) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/tdx/debian_ovmf_expected.json")).value();
  unsigned measured = 0;
  for (const auto& row : *expected.find("files")->as_array()) {
    const auto file = *row.find("file")->as_string();
    if (row.find("tdvf") != nullptr && row.find("mrtd_single") == nullptr) continue;  // a part: nothing to compare with
    if (!std::filesystem::exists(file)) continue;
    if (codec::to_hex(crypto::sha256(test::read_file(file))) != *row.find("sha256")->as_string()) continue;
    const auto ran = cloister({"measure", "tdx", "--tdvf", file});
    if (row.find("mrtd_single") == nullptr) {
      EXPECT_EQ(ran.code, kFailed) << file;  // built without TDX
      EXPECT_NE(ran.err.find("TDX metadata"), std::string::npos) << ran.err;
    } else {
      EXPECT_EQ(ran.out, *row.find("mrtd_single")->as_string() + "\n") << ran.err;
      EXPECT_EQ(cloister({"measure", "tdx", "--tdvf", file, "--profile", "two-pass"}).out,
                *row.find("mrtd_two_pass")->as_string() + "\n");
    }
    ++measured;
  }
  if (measured == 0) GTEST_SKIP() << "the package ovmf of that version is not installed";
}

TEST(MeasureCommand, EnclaveGivesMrenclaveAndMrsigner) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/sgx";
  const auto expected = codec::json::parse(test::read_text(folder / "expected.json")).value();
  const auto* row = expected.find("fortanix_test_enclave.sgxs");
  const auto mrenclave = *row->find("mrenclave")->as_string();
  const auto sgxs = (folder / "fortanix_test_enclave.sgxs").string();
  EXPECT_EQ(cloister({"measure", "sgx", "--sgxs", sgxs}).out, mrenclave + "\n");
  const auto checked = cloister({"measure", "sgx", "--sgxs", sgxs, "--sigstruct",
                                 (folder / "fortanix_test_enclave.sigstruct.bin").string()});
  EXPECT_EQ(checked.code, kOk) << checked.err;
  EXPECT_EQ(checked.out, "mrenclave: " + mrenclave + "\nmrsigner: " + *row->find("mrsigner_of_.sigstruct")->as_string() + "\n");
  const auto other = cloister({"measure", "sgx", "--sgxs", sgxs, "--sigstruct", (folder / "sig1.sigstruct.bin").string()});
  EXPECT_EQ(other.code, kFailed);
  EXPECT_NE(other.err.find("measurement_mismatch"), std::string::npos) << other.err;

  const test::TempDir temporary;
  const auto file = temporary.path() / "sigstruct";
  auto changed = test::read_text(folder / "fortanix_test_enclave.sigstruct.bin");
  changed[1500] ^= 1;  // q2
  write(file, changed);
  EXPECT_EQ(cloister({"measure", "sgx", "--sgxs", sgxs, "--sigstruct", file.string()}).code, kFailed);
  EXPECT_EQ(cloister({"measure", "sgx", "--sgxs", file.string()}).code, kFailed);
  EXPECT_EQ(cloister({"measure", "sgx"}).code, kFailed);
}

TEST(MeasureCommand, EventLogGivesFourRegisters) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/tdx/expected.json")).value();
  const auto ran = cloister({"measure", "tdx", "--event-log", (root / "lab/tdx/cos113_ccel_data.dat").string()});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  std::string lines;
  for (const auto* name : {"rtmr0", "rtmr1", "rtmr2", "rtmr3"}) {
    lines += std::string{name} + ": " + *expected.find("cos113")->find(name)->as_string() + "\n";
  }
  EXPECT_EQ(ran.out, lines);
}

TEST(MeasureCommand, ReadsDstacksAnswer) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto ran = cloister({"measure", "tdx", "--event-log", (root / "attestation/tdx/dstack/quote-report.json").string()});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.substr(0, 7), "rtmr0: ");
}

TEST(MeasureCommand, ReadsTheLogOfAGuest) {
  const test::TempDir folder;
  const auto file = folder.path() / "log";
  // ["cloister/event-log/1", []]
  write(file, "\x82\x74"
              "cloister/event-log/1\x80");
  const auto ran = cloister({"measure", "tdx", "--event-log", file.string()});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.substr(0, 7 + 96), "rtmr0: " + std::string(96, '0'));
}

TEST(MeasureCommand, ProgramGivesTheMrtdOfItsImage) {
  const auto ran = cloister({"measure", "tdx", "--program", "/proc/self/exe"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_EQ(ran.out.size(), 97U);
  EXPECT_EQ(ran.out, cloister({"measure", "tdx", "--program", "/proc/self/exe"}).out);
}

TEST(MeasureCommand, FailsOnWhatCannotBeMeasured) {
  const test::TempDir folder;
  const auto file = folder.path() / "junk";
  write(file, "junk");
  for (const auto* option : {"--tdvf", "--program", "--event-log"}) {
    const auto ran = cloister({"measure", "tdx", option, file.string()});
    EXPECT_EQ(ran.code, kFailed) << option;
    EXPECT_TRUE(ran.out.empty());
    EXPECT_NE(ran.err.find("cloister: "), std::string::npos);
    EXPECT_EQ(cloister({"measure", "tdx", option, (folder.path() / "absent").string()}).code, kFailed);
  }
}

TEST(MeasureCommand, AsksForExactlyOneThing) {
  EXPECT_EQ(cloister({"measure"}).code, kFailed);
  EXPECT_EQ(cloister({"measure", "tdx"}).code, kFailed);
  EXPECT_EQ(cloister({"measure", "tdx", "--tdvf", "a", "--event-log", "b"}).code, kFailed);
  EXPECT_EQ(cloister({"measure", "tdx", "--tdvf", "a", "--profile", "three-pass"}).code, kFailed);
}

}  // namespace
}  // namespace cloister::cli
