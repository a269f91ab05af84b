#include <gtest/gtest.h>

#include <fstream>
#include <map>
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

class SnpMeasureCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    CLOISTER_VECTORS_OR_SKIP(root);
    folder_ = root / "lab/snp";
    const auto cases = codec::json::parse(test::read_text(folder_ / "cases.json")).value();
    for (const auto& row : *cases.as_array()) {
      expected_[std::string{*row.find("id")->as_string()}] = std::string{*row.find("expected")->as_string()} + "\n";
    }
  }
  [[nodiscard]] std::string file(std::string_view name) const { return (folder_ / name).string(); }
  /// Of the firmware that most cases are about.
  [[nodiscard]] Ran measure(std::vector<std::string> arguments) const {
    std::vector<std::string> all{"measure", "snp", "--ovmf", file("ovmf_AmdSev_suffix.bin")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return cloister(std::move(all));
  }
  std::filesystem::path folder_;
  std::map<std::string, std::string> expected_;
};

TEST_F(SnpMeasureCommand, GivesTheLaunchDigest) {
  EXPECT_EQ(measure({"--vcpus", "4", "--vcpu-type", "epyc-v4", "--kernel", "/dev/null", "--initrd", "/dev/null", "--append", "",
                     "--guest-features", "0x21"}).out, expected_["up-05"]);
  EXPECT_EQ(measure({"--mode", "SNP", "--vcpus", "1", "--vcpu-type", "EPYC-Milan", "--kernel", file("in/kernel_8k.bin"), "--initrd",
                     file("in/initrd_5001.bin"), "--append", "root=/dev/vda ro"}).out, expected_["gen-01"]);
  EXPECT_EQ(measure({"--vcpus", "2", "--vcpu-sig", "10489617", "--kernel", file("in/kernel_8k.bin")}).out, expected_["gen-02"]);
  EXPECT_EQ(measure({"--vcpus", "1", "--vcpu-family", "23", "--vcpu-model", "1", "--vcpu-stepping", "2", "--guest-features", "33"}).out,
            expected_["up-03"]);
  EXPECT_EQ(measure({"--vcpus", "1", "--vcpu-type", "EPYC-v4", "--vmm-type", "EC2", "--kernel", "/dev/null", "--guest-features", "0x21"}).out,
            expected_["up-09"]);
  EXPECT_EQ(measure({"--vcpus", "1", "--vmm-type", "gce", "--kernel", "/dev/null"}).out, expected_["up-11"]);
  const auto as_json = measure({"--vcpus", "1", "--vcpu-type", "EPYC-v4", "--json"});
  EXPECT_EQ(std::string{*codec::json::parse(as_json.out).value().find("launch_digest")->as_string()} + "\n", expected_["up-04"]);
}

TEST_F(SnpMeasureCommand, GivesThatOfOtherModes) {
  EXPECT_EQ(measure({"--mode", "sev-es", "--vcpus", "1", "--vcpu-type", "EPYC-v4", "--kernel", "/dev/null"}).out, expected_["up-13"]);
  EXPECT_EQ(measure({"--mode", "sev", "--kernel", "/dev/null"}).out, expected_["up-16"]);
  const auto hash = measure({"--mode", "snp:ovmf-hash"});
  EXPECT_EQ(hash.out, expected_["ovmf-hash-A"]);
  EXPECT_EQ(measure({"--vcpus", "1", "--vcpu-type", "EPYC-v4", "--snp-ovmf-hash", hash.out.substr(0, 96)}).out, expected_["up-04"]);
  const std::vector<std::string> svsm{"measure", "snp", "--mode", "snp:svsm", "--ovmf", file("svsm_ovmf.fd"), "--svsm", file("svsm.bin"),
                                      "--vcpus", "4", "--vcpu-type", "EPYC-v4"};
  auto sized = svsm;
  sized.insert(sized.end(), {"--vars-size", "540672"});
  EXPECT_EQ(cloister(sized).out, expected_["up-18"]);
  const test::TempDir temporary;
  write(temporary.path() / "vars", std::string(540672, '\0'));
  auto given = svsm;
  given.insert(given.end(), {"--vars-file", (temporary.path() / "vars").string()});
  EXPECT_EQ(cloister(given).out, expected_["up-18"]);
  EXPECT_EQ(cloister(svsm).code, kFailed);
}

TEST_F(SnpMeasureCommand, RefusesWhatItCannotMeasure) {
  const auto refused = [this](std::vector<std::string> arguments, std::string_view why) {
    const auto ran = measure(std::move(arguments));
    EXPECT_EQ(ran.code, kFailed) << why;
    EXPECT_TRUE(ran.out.empty());
    EXPECT_NE(ran.err.find(why), std::string::npos) << ran.err;
  };
  refused({}, "--vcpus expected");
  refused({"--vcpus", "1"}, "--vcpu-type");
  refused({"--vcpus", "0", "--vcpu-sig", "1"}, "4096");
  refused({"--vcpus", "1", "--vcpu-type", "486"}, "unsupported");
  refused({"--vcpus", "1", "--vmm-type", "xen"}, "unsupported");
  refused({"--vcpus", "1", "--mode", "tdx"}, "--mode");
  refused({"--vcpus", "1", "--vcpu-sig", "1", "--initrd", "/dev/null"}, "--kernel");
  refused({"--vcpus", "1", "--vcpu-sig", "1", "--kernel", file("absent")}, "io_error");
  refused({"--vcpus", "1", "--vcpu-sig", "1", "--snp-ovmf-hash", "00"}, "96 hexadecimal");
  refused({"--mode", "sev", "--snp-ovmf-hash", std::string(96, '0')}, "mode snp alone");
  refused({"--mode", "snp:svsm", "--vcpus", "1", "--vmm-type", "gce", "--svsm", file("svsm.bin"), "--vars-size", "0"}, "QEMU");
  EXPECT_EQ(cloister({"measure", "snp", "--vcpus", "1"}).code, kFailed);
  EXPECT_EQ(cloister({"measure", "snp", "--ovmf", file("ovmf_OvmfX64_suffix.bin"), "--vcpus", "1", "--vcpu-sig", "1", "--kernel",
                      "/dev/null"}).code, kFailed);
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
