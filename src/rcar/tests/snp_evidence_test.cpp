#include "cloister/rcar/snp_evidence.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

json::Array list(ByteView bytes) {
  json::Array out;
  for (const auto byte : bytes) out.emplace_back(int{byte});
  return out;
}
std::uint64_t little_endian(ByteView bytes) {
  std::uint64_t out = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) out = out << 8 | bytes[i - 1];
  return out;
}

/// What the guest components make of a report's bytes (AMD 56860, Table 23).
json::Value fields_of(ByteView report, bool turin) {
  const auto number = [&](std::size_t at, std::size_t size) { return json::Value{little_endian(report.subspan(at, size))}; };
  const auto bytes = [&](std::size_t at, std::size_t size) { return json::Value{list(report.subspan(at, size))}; };
  const auto tcb = [&](std::size_t at) -> json::Value {
    if (turin) {
      return json::Object{{"fmc", number(at, 1)}, {"bootloader", number(at + 1, 1)}, {"tee", number(at + 2, 1)},
                          {"snp", number(at + 3, 1)}, {"microcode", number(at + 7, 1)}};
    }
    return json::Object{{"fmc", nullptr}, {"bootloader", number(at, 1)}, {"tee", number(at + 1, 1)}, {"snp", number(at + 6, 1)},
                        {"microcode", number(at + 7, 1)}};
  };
  const auto version = [&](std::size_t at) -> json::Value {
    return json::Object{{"major", number(at + 2, 1)}, {"minor", number(at + 1, 1)}, {"build", number(at, 1)}};
  };
  return json::Object{{"version", number(0, 4)},
                      {"guest_svn", number(4, 4)},
                      {"policy", number(8, 8)},
                      {"family_id", bytes(0x10, 16)},
                      {"image_id", bytes(0x20, 16)},
                      {"vmpl", number(0x30, 4)},
                      {"sig_algo", number(0x34, 4)},
                      {"current_tcb", tcb(0x38)},
                      {"plat_info", number(0x40, 8)},
                      {"key_info", number(0x48, 4)},
                      {"report_data", bytes(0x50, 64)},
                      {"measurement", bytes(0x90, 48)},
                      {"host_data", bytes(0xC0, 32)},
                      {"id_key_digest", bytes(0xE0, 48)},
                      {"author_key_digest", bytes(0x110, 48)},
                      {"report_id", bytes(0x140, 32)},
                      {"report_id_ma", bytes(0x160, 32)},
                      {"reported_tcb", tcb(0x180)},
                      {"cpuid_fam_id", number(0x188, 1)},
                      {"cpuid_mod_id", number(0x189, 1)},
                      {"cpuid_step", number(0x18A, 1)},
                      {"chip_id", bytes(0x1A0, 64)},
                      {"committed_tcb", tcb(0x1E0)},
                      {"current", version(0x1E8)},
                      {"committed", version(0x1EC)},
                      {"launch_tcb", tcb(0x1F0)},
                      {"launch_mit_vector", number(0x1F8, 8)},
                      {"current_mit_vector", number(0x200, 8)},
                      {"signature", json::Object{{"r", bytes(0x2A0, 72)}, {"s", bytes(0x2E8, 72)}}}};
}

/// Other bytes in every field, zeros in what is reserved.
Bytes some_report(bool turin) {
  Bytes out(1184);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 1);
  const auto clear = [&](std::size_t at, std::size_t size) { std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(at), size, std::uint8_t{0}); };
  clear(0x4C, 4);
  clear(0x18B, 21);
  clear(0x1EB, 1);
  clear(0x1EF, 1);
  clear(0x208, 0x2A0 - 0x208);
  clear(0x330, 1184 - 0x330);
  for (const std::size_t tcb : {0x38U, 0x180U, 0x1E0U, 0x1F0U}) turin ? clear(tcb + 4, 3) : clear(tcb + 2, 4);
  return out;
}

TEST(SnpReport, OfFieldsHasItsBytes) {
  for (const bool turin : {false, true}) {
    const auto report = some_report(turin);
    const auto fields = json::parse(json::write(fields_of(report, turin))).value();
    EXPECT_EQ(snp_report_bytes(fields).value(), report);
    const auto evidence = json::write(json::Object{{"attestation_report", fields}, {"cert_chain", nullptr}});
    EXPECT_EQ(with_raw_snp_report(evidence).value(),
              R"({"attestation_report":")" + codec::to_hex(report) + R"(","cert_chain":null})");
  }
}

// A report that a chip signed: what is made of its fields is what was signed.
TEST(SnpReport, OfAChipSurvives) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  for (const auto* name : {"attestation/snp/trustee/test-report.bin", "attestation/snp/trustee/test-vlek-report.bin",
                           "attestation/snp/tav/milan_attestation_report.bin", "attestation/snp/tav/genoa_attestation_report.bin"}) {
    const auto report = test::read_file(folder / name);
    EXPECT_EQ(snp_report_bytes(fields_of(report, false)).value(), report) << name;
  }
}

TEST(SnpReport, OlderVersionsHaveLess) {
  auto report = some_report(false);
  for (const std::size_t at : {0x188U, 0x189U, 0x18AU}) report[at] = 0;
  std::fill_n(report.begin() + 0x1F8, 16, std::uint8_t{0});
  json::Object less;
  const auto fields = fields_of(report, false);
  for (const auto& [name, value] : *fields.as_object()) {
    if (name == "launch_mit_vector" || name == "current_mit_vector") continue;
    less.emplace_back(name, name.starts_with("cpuid_") ? json::Value{} : value);
  }
  EXPECT_EQ(snp_report_bytes(less).value(), report);
}

TEST(SnpReport, RefusesWhatItIsNot) {
  const auto fields = fields_of(some_report(false), false);
  for (const auto& [name, value] : *fields.as_object()) {
    if (name.starts_with("cpuid_") || name.ends_with("_mit_vector")) continue;
    json::Object less;
    for (const auto& other : *fields.as_object()) {
      if (other.first != name) less.push_back(other);
    }
    EXPECT_EQ(snp_report_bytes(less).error().code(), Errc::missing_member) << name;
    EXPECT_EQ(snp_report_bytes(json::Value{fields}.set(name, "x")).error().code(), Errc::malformed) << name;
  }
  const auto code = [&](std::string_view name, json::Value value) {
    return snp_report_bytes(json::Value{fields}.set(name, std::move(value))).error().code();
  };
  EXPECT_EQ(code("version", std::int64_t{1} << 32), Errc::malformed);
  EXPECT_EQ(code("version", -1), Errc::malformed);
  EXPECT_EQ(code("chip_id", json::Array{1}), Errc::malformed);
  EXPECT_EQ(code("chip_id", json::Array(64, 256)), Errc::malformed);
  EXPECT_EQ(code("more", 1), Errc::unknown_member);
  EXPECT_EQ(code("current", json::Object{{"major", 1}, {"minor", 1}}), Errc::missing_member);
  EXPECT_EQ(code("current_tcb", json::Object{{"bootloader", 1}, {"tee", 1}, {"snp", 1}, {"microcode", 1}, {"x", 1}}), Errc::unknown_member);
  EXPECT_EQ(snp_report_bytes("x").error().code(), Errc::malformed);
}

TEST(SnpEvidence, OfAnotherFormIsLeftAlone) {
  for (const auto* text : {"{}", R"({"attestation_report":"00ff"})", R"({"attestation_report":[1,2]})", "[1]"}) {
    EXPECT_EQ(with_raw_snp_report(text).value(), text);
  }
  EXPECT_EQ(with_raw_snp_report("x").error().code(), Errc::malformed);
}

}  // namespace
}  // namespace cloister::rcar
