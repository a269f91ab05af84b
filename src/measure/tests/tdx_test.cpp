#include "cloister/measure/tdx.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::measure {
namespace {

constexpr std::size_t kDescriptorDistance = 4;  // bytes of the metadata entry's data

TEST(TdMeasurement, PageAddIsOneNamedBlock) {
  TdMeasurement measurement;
  measurement.page_add(0x1234000);
  Bytes block = to_bytes("MEM.PAGE.ADD");
  block.resize(128);
  block[17] = 0x40;
  block[18] = 0x23;
  block[19] = 0x01;
  EXPECT_EQ(measurement.finish(), crypto::sha384(block));
}

TEST(TdMeasurement, ExtendIsANamedBlockAndTheChunk) {
  ByteArray<kTdChunkSize> chunk;
  chunk.fill(0xA5);
  TdMeasurement measurement;
  measurement.extend(0x100, chunk);
  Bytes expected = to_bytes("MR.EXTEND");
  expected.resize(128);
  expected[17] = 0x01;
  append(expected, chunk);
  EXPECT_EQ(measurement.finish(), crypto::sha384(expected));
}

TEST(TdMeasurement, AddAndExtendMeasuresSixteenChunksInOrder) {
  ByteArray<kTdPageSize> page;
  for (std::size_t i = 0; i < page.size(); ++i) page[i] = static_cast<std::uint8_t>(i / kTdChunkSize);
  TdMeasurement whole;
  whole.add_and_extend(0x5000, page);
  TdMeasurement steps;
  steps.page_add(0x5000);
  for (std::size_t i = 0; i < 16; ++i) {
    ByteArray<kTdChunkSize> chunk;
    chunk.fill(static_cast<std::uint8_t>(i));
    steps.extend(0x5000 + i * kTdChunkSize, chunk);
  }
  EXPECT_EQ(whole.finish(), steps.finish());
}

TEST(TdvfProfile, IsOneOfTwoNames) {
  EXPECT_EQ(parse_tdvf_profile("single-pass").value(), TdvfProfile::single_pass);
  EXPECT_EQ(parse_tdvf_profile("two-pass").value(), TdvfProfile::two_pass);
  EXPECT_EQ(parse_tdvf_profile("Two-Pass").error().code(), Errc::invalid_argument);
}

class TdvfVectors : public ::testing::TestWithParam<const char*> {};

TEST_P(TdvfVectors, MeasurementsAndSectionsAreThePublishedOnes) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected_all = codec::json::parse(test::read_text(root / "lab/tdx/tdvf_expected.json"));
  ASSERT_TRUE(expected_all.ok());
  const auto* expected = expected_all->find(GetParam());
  ASSERT_NE(expected, nullptr);
  const auto firmware = test::read_file(root / "lab/tdx" / (std::string{GetParam()} + ".bin"));
  EXPECT_EQ(codec::to_hex(mrtd_of_tdvf(firmware, TdvfProfile::single_pass).value()), *expected->find("single")->as_string());
  EXPECT_EQ(codec::to_hex(mrtd_of_tdvf(firmware, TdvfProfile::two_pass).value()), *expected->find("two_pass")->as_string());

  const auto sections = tdvf_sections(firmware).value();
  const auto& rows = *expected->find("sections")->as_array();
  ASSERT_EQ(sections.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto cell = [&](std::size_t column) { return std::stoull(*(*rows[i].as_array())[column].as_string(), nullptr, 16); };
    EXPECT_EQ(sections[i].data_offset, cell(0));
    EXPECT_EQ(sections[i].data_size, cell(1));
    EXPECT_EQ(sections[i].gpa, cell(2));
    EXPECT_EQ(sections[i].memory_size, cell(3));
    EXPECT_EQ(sections[i].type, cell(4));
    EXPECT_EQ(sections[i].attributes, cell(5));
  }
}

INSTANTIATE_TEST_SUITE_P(Firmware, TdvfVectors, ::testing::Values("tdvf1", "tdvf2"));

TEST(Tdvf, MeasuresTheFirmwareOfThisDistribution) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = codec::json::parse(test::read_text(root / "lab/tdx/debian_ovmf_expected.json"));
  ASSERT_TRUE(expected.ok());
  bool measured = false;
  for (const auto& row : *expected->find("files")->as_array()) {
    const std::filesystem::path file = *row.find("file")->as_string();
    const auto* single = row.find("mrtd_single");
    if (single == nullptr || !std::filesystem::exists(file)) continue;
    const auto firmware = test::read_file(file);
    if (codec::to_hex(crypto::sha256(firmware)) != *row.find("sha256")->as_string()) continue;
    EXPECT_EQ(codec::to_hex(mrtd_of_tdvf(firmware, TdvfProfile::single_pass).value()), *single->as_string());
    EXPECT_EQ(codec::to_hex(mrtd_of_tdvf(firmware, TdvfProfile::two_pass).value()),
              *row.find("mrtd_two_pass")->as_string());
    measured = true;
  }
  if (!measured) GTEST_SKIP() << "the package ovmf of that version is not installed";
}

/// A small firmware with one measured section, whose fields a test may spoil.
struct Firmware {
  std::uint32_t distance = 0;  // 0: the right one
  std::uint32_t length = 16 + 32;
  std::uint32_t version = 1;
  std::uint32_t count = 1;
  TdvfSection section{.data_offset = 0, .data_size = 0x1000, .gpa = 0xFFFF0000, .memory_size = 0x2000, .type = 0,
                      .attributes = TdvfSection::kMrExtend};
  std::uint16_t entry_length = kDescriptorDistance + 18;
  std::string signature = "TDVF";

  [[nodiscard]] Bytes build() const {
    codec::Writer w;
    w.zeros(0x1000);
    const auto descriptor = w.size();
    w.raw(as_bytes(signature));
    w.u32le(length);
    w.u32le(version);
    w.u32le(count);
    w.u32le(section.data_offset);
    w.u32le(section.data_size);
    w.u64le(section.gpa);
    w.u64le(section.memory_size);
    w.u32le(section.type);
    w.u32le(section.attributes);
    const std::size_t table = kDescriptorDistance + 18 + 18;
    const auto right = static_cast<std::uint32_t>(w.size() + table + 32 - descriptor);
    w.u32le(distance == 0 ? right : distance);
    w.u16le(entry_length);
    w.raw(codec::from_hex("35657ae44a989847865e4685a7bf8ec2").value());
    w.u16le(static_cast<std::uint16_t>(table));
    w.raw(codec::from_hex("de82b596b21ff745baeaa366c55a082d").value());
    w.zeros(32);
    return std::move(w).take();
  }
};

TEST(Tdvf, AcceptsTheSmallFirmwareOfTheseTests) {
  EXPECT_TRUE(mrtd_of_tdvf(Firmware{}.build(), TdvfProfile::single_pass).ok());
}

TEST(Tdvf, SectionMemoryBehindItsDataIsMeasuredAsZeros) {
  Firmware shorter;
  shorter.section.data_size = 0x800;
  const auto a = shorter.build();
  auto b = Firmware{}.build();  // bytes 0x800 to 0x1000 are zero as well
  EXPECT_EQ(mrtd_of_tdvf(a, TdvfProfile::single_pass).value(), mrtd_of_tdvf(b, TdvfProfile::single_pass).value());
  b[0x900] = 1;
  EXPECT_NE(mrtd_of_tdvf(a, TdvfProfile::single_pass).value(), mrtd_of_tdvf(b, TdvfProfile::single_pass).value());
}

void expect_refused(const Firmware& firmware, std::string_view part) {
  const auto result = tdvf_sections(firmware.build());
  ASSERT_FALSE(result.ok()) << part;
  EXPECT_EQ(result.error().code(), Errc::malformed);
  EXPECT_NE(result.error().detail().find(part), std::string::npos) << result.error().detail();
}

TEST(Tdvf, RefusesABadDescriptor) {
  Firmware f;
  f.distance = 0x10000;
  expect_refused(f, "outside the file");
  f = {};
  f.signature = "TDVX";
  expect_refused(f, "signature");
  f = {};
  f.version = 2;
  expect_refused(f, "version");
  f = {};
  f.count = 0;
  expect_refused(f, "sections");
  f = {};
  f.count = 65;
  expect_refused(f, "sections");
  f = {};
  f.length = 16 + 33;
  expect_refused(f, "length disagrees");
  f = {};
  f.entry_length = 17;
  expect_refused(f, "bad length");
}

TEST(Tdvf, RefusesABadSection) {
  Firmware f;
  f.section.gpa = 0x10;
  expect_refused(f, "whole pages");
  f = {};
  f.section.memory_size = 0x1800;
  expect_refused(f, "whole pages");
  f = {};
  f.section.memory_size = std::uint64_t{1} << 40;
  expect_refused(f, "larger than a firmware");
  f = {};
  f.section.gpa = 0xFFFFFFFFFFFFF000;
  expect_refused(f, "wraps");
  f = {};
  f.section.data_size = 0x3000;
  expect_refused(f, "more data than memory");
  f = {};
  f.section.data_offset = 0xFFFFFF00;
  expect_refused(f, "outside the file");
}

TEST(Tdvf, RefusesAFileWithoutTheTable) {
  EXPECT_EQ(tdvf_sections({}).error().code(), Errc::malformed);
  EXPECT_EQ(tdvf_sections(Bytes(4096)).error().code(), Errc::malformed);
}

}  // namespace
}  // namespace cloister::measure
