#include "cloister/measure/snp_launch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::measure {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

std::string text_of(const json::Value& row, std::string_view name) {
  const auto* member = row.find(name);
  const auto* text = member == nullptr ? nullptr : member->as_string();
  return text == nullptr ? std::string{} : std::string{*text};
}

/// A file of the vectors; "/dev/null" is an empty one.
Bytes vector_file(const fs::path& root, const std::string& name) {
  if (name.empty() || name == "/dev/null") return {};
  return test::read_file(root / "lab" / name);
}

/// The measurement of one row of cases.json, as its members ask for it.
Result<Bytes> measured(const fs::path& root, const json::Value& row) {
  const auto mode = text_of(row, "mode");
  const auto firmware = vector_file(root, text_of(row, "ovmf"));
  const auto bytes = [](const auto& digest) -> Result<Bytes> {
    if (!digest) return digest.error();
    return to_bytes(*digest);
  };
  if (mode == "SNP_OVMF_HASH") return bytes(snp_firmware_digest(firmware));
  SnpLaunch launch{.firmware = firmware, .kernel = {}};
  if (!text_of(row, "kernel").empty()) {
    launch.kernel = KernelHashes::of(vector_file(root, text_of(row, "kernel")), vector_file(root, text_of(row, "initrd")),
                                     text_of(row, "append"));
  }
  launch.vcpus = static_cast<std::uint32_t>(*row.find("vcpus")->as_int());
  if (!text_of(row, "vcpu_type").empty()) {
    CLOISTER_TRY(signature, vcpu_signature_of(text_of(row, "vcpu_type")));
    launch.vcpu_signature = signature;
  }
  launch.guest_features = std::stoull(text_of(row, "guest_features"), nullptr, 0);
  CLOISTER_TRY(vmm, parse_snp_vmm(text_of(row, "vmm")));
  launch.vmm = vmm;
  if (mode == "SEV_SNP") return bytes(snp_launch_digest(launch));
  if (mode == "SEV_ES") return bytes(sev_es_launch_digest(launch));
  if (mode == "SEV") return bytes(sev_launch_digest(firmware, launch.kernel));
  const auto& extra = *row.find("extra");
  const auto svsm = vector_file(root, text_of(extra, "svsm_file"));
  return bytes(svsm_launch_digest({.firmware = firmware, .svsm = svsm, .vars_size = std::stoull(text_of(extra, "ovmf_vars_size")),
                                   .vcpus = launch.vcpus, .vcpu_signature = launch.vcpu_signature}));
}

TEST(SnpLaunchVectors, AreWhatThePublicToolComputes) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto cases = json::parse(test::read_text(root / "lab/snp/cases.json")).value();
  ASSERT_EQ(cases.as_array()->size(), 20U);
  for (const auto& row : *cases.as_array()) {
    const auto digest = measured(root, row);
    ASSERT_TRUE(digest.ok()) << text_of(row, "id") << ": " << digest.error().text();
    EXPECT_EQ(codec::to_hex(*digest), text_of(row, "expected")) << text_of(row, "id");
  }
}

TEST(SnpLaunchVectors, VmsasAreWhatThePublicToolWrites) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto folder = root / "lab/snp";
  EXPECT_EQ(to_bytes(vmsa_page(SnpVmm::qemu, kBootEip, 0x21, vcpu_signature_of("EPYC-v4").value())),
            test::read_file(folder / "vmsa_bsp_qemu_epycv4_0x21.bin"));
  EXPECT_EQ(to_bytes(vmsa_page(SnpVmm::qemu, kBootEip, 0x1, vcpu_signature_of("EPYC-Milan").value())),
            test::read_file(folder / "vmsa_bsp_qemu_milan_0x1.bin"));
}

/// The package `ovmf`, where it is installed in the version that the vectors name.
TEST(SnpLaunchVectors, DebiansOvmf) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto expected = json::parse(test::read_text(root / "lab/tdx/debian_ovmf_expected.json")).value();
  std::set<std::string> seen;
  for (const auto& row : *expected.find("files")->as_array()) {
    const auto file = text_of(row, "file");
    if (!fs::exists(file)) continue;
    const auto firmware = test::read_file(file);
    if (codec::to_hex(crypto::sha256(firmware)) != text_of(row, "sha256")) continue;
    const auto digest = snp_launch_digest(
        {.firmware = firmware, .kernel = {}, .vcpus = 1, .vcpu_signature = vcpu_signature_of("EPYC-Milan").value(), .guest_features = 1});
    ASSERT_TRUE(digest.ok()) << file << ": " << digest.error().text();
    EXPECT_EQ(codec::to_hex(*digest), text_of(row, "snp_ld_1vcpu_EPYC-Milan_0x1")) << file;
    seen.insert(file);
  }
  if (seen.empty()) GTEST_SKIP() << "Debian's package ovmf, 2022.11-6+deb12u2, is not installed";
  EXPECT_EQ(seen.size(), 3U);
}

// What virtee's `sev` 8.0.0 computes for VMMType::KRUN of lab/snp/in/ovmf_AmdSev_padded_64k.bin, EPYC-Milan, features 1.
TEST(SnpLaunchVectors, Krun) {
  CLOISTER_VECTORS_OR_SKIP(root);
  const auto firmware = vector_file(root, "snp/in/ovmf_AmdSev_padded_64k.bin");
  const auto digest = snp_launch_digest({.firmware = firmware, .kernel = {}, .vcpus = 2,
                                         .vcpu_signature = vcpu_signature_of("EPYC-Milan").value(), .vmm = SnpVmm::krun});
  EXPECT_EQ(codec::to_hex(digest.value()), "1246469a99c5d6980b9d14e18909372ad61b1a860c825183ca96ea412caedae80e2665b903a69d6d22879409f89ab69e");
}

TEST(VcpuSignature, IsEaxOfCpuidOne) {
  EXPECT_EQ(vcpu_signature(23, 1, 2), 0x00800F12U);
  EXPECT_EQ(vcpu_signature(25, 17, 0), 0x00A10F10U);
  EXPECT_EQ(vcpu_signature(6, 0x1A, 3), 0x000106A3U);
  EXPECT_EQ(vcpu_signature_of("epyc-milan-V2").value(), 0x00A00F11U);
  EXPECT_EQ(vcpu_signature_of("EPYC-Turin").value(), 0x00B00F00U);
  for (const auto* unknown : {"", "EPYC-", "EPYC-v0", "EPYC-v9", "EPYC-IBPB-v1", "EPYC-Milan-v", "EPYC-Milan-v22", "EPYC-Bergamo"}) {
    EXPECT_EQ(vcpu_signature_of(unknown).error().code(), Errc::unsupported) << unknown;
  }
}

TEST(SnpVmmName, IsOneOfFour) {
  EXPECT_EQ(parse_snp_vmm("QEMU").value(), SnpVmm::qemu);
  EXPECT_EQ(parse_snp_vmm("Krun").value(), SnpVmm::krun);
  EXPECT_EQ(parse_snp_vmm("xen").error().code(), Errc::unsupported);
}

TEST(KernelHashes, CoverTheCommandLineWithItsZero) {
  const auto hashes = KernelHashes::of(to_bytes("k"), {}, "a b");
  EXPECT_EQ(hashes.cmdline, crypto::sha256(Bytes{'a', ' ', 'b', 0}));
  EXPECT_EQ(hashes.initrd, crypto::sha256(ByteView{}));
  const auto table = hashes.table();
  ASSERT_EQ(table.size(), 176U);
  EXPECT_TRUE(std::ranges::equal(ByteView{table}.subspan(18 + 2 * 50 + 18, 32), crypto::sha256(to_bytes("k"))));
}

// --- a firmware that can be broken in one place at a time ---

const Bytes kResetBlock = codec::from_hex("de71f7007e1acb4f890e68c77e2fb44e").value();
const Bytes kHashTable = codec::from_hex("1f3755723b3a044b927b1da6efa8d454").value();
const Bytes kMetadata = codec::from_hex("666588dc4a989847a75e5585a7bf67cc").value();
const Bytes kSvsmInfo = codec::from_hex("12a689a797054b4ca49fcbb1fe9d1ddd").value();
const Bytes kFooter = codec::from_hex("de82b596b21ff745baeaa366c55a082d").value();

struct Parts {
  std::vector<SnpSection> sections{{0x800000, 0x2000, SnpSectionType::memory},
                                   {0x80D000, 0x1000, SnpSectionType::secrets},
                                   {0x80E000, 0x1000, SnpSectionType::cpuid},
                                   {0x80F000, 0x1000, SnpSectionType::svsm_calling_area},
                                   {0x810000, 0x1000, SnpSectionType::kernel_hashes}};
  std::string signature = "ASEV";
  std::uint32_t version = 1;
  std::optional<std::uint32_t> count, length, distance;  // not what they should be
  std::vector<std::pair<Bytes, Bytes>> entries;           // GUID and data, before the footer
  std::size_t size = kSnpPageSize;
};

Bytes u32(std::uint32_t value) {
  codec::Writer out;
  out.u32le(value);
  return std::move(out).take();
}

Parts whole() {
  Parts out;
  auto hashes = u32(0x810C00);
  append(hashes, u32(0x400));
  out.entries = {{kResetBlock, u32(0x80B004)}, {kHashTable, hashes}};
  return out;
}

Bytes firmware_of(const Parts& parts) {
  codec::Writer metadata;
  metadata.raw(as_bytes(parts.signature));
  const auto count = static_cast<std::uint32_t>(parts.sections.size());
  metadata.u32le(parts.length.value_or(16 + 12 * count));
  metadata.u32le(parts.version);
  metadata.u32le(parts.count.value_or(count));
  for (const auto& section : parts.sections) {
    metadata.u32le(section.gpa);
    metadata.u32le(section.size);
    metadata.u32le(static_cast<std::uint32_t>(section.type));
  }
  Bytes out(parts.size);
  std::ranges::copy(metadata.bytes(), out.begin());
  codec::Writer table;
  const auto entry = [&table](const Bytes& guid, ByteView data) {
    table.raw(data);
    table.u16le(static_cast<std::uint16_t>(data.size() + 18));
    table.raw(guid);
  };
  for (const auto& [guid, data] : parts.entries) entry(guid, data);
  entry(kMetadata, u32(parts.distance.value_or(static_cast<std::uint32_t>(parts.size))));
  table.u16le(static_cast<std::uint16_t>(table.size() + 18));
  table.raw(kFooter);
  std::ranges::copy(table.bytes(), out.end() - 32 - static_cast<std::ptrdiff_t>(table.size()));
  return out;
}

SnpLaunch launch_of(const Bytes& firmware) { return {.firmware = firmware, .kernel = {}, .vcpu_signature = 0x00A00F11}; }

Errc refusal(const Parts& parts) {
  const auto parsed = parse_snp_firmware(firmware_of(parts));
  return parsed ? Errc::internal : parsed.error().code();
}

template <class Change>
Errc refusal_of(const Change& change) {
  auto parts = whole();
  change(parts);
  return refusal(parts);
}

TEST(SnpFirmware, SaysWhatItNeeds) {
  const auto parsed = parse_snp_firmware(firmware_of(whole())).value();
  EXPECT_EQ(parsed.sections, whole().sections);
  EXPECT_EQ(parsed.kernel_hashes_gpa, 0x810C00U);
  EXPECT_EQ(parsed.reset_eip, 0x80B004U);
  EXPECT_FALSE(parsed.svsm_entry.has_value());
}

TEST(SnpFirmware, RefusesWhatIsNotAsSpecified) {
  EXPECT_EQ(parse_snp_firmware({}).error().code(), Errc::malformed);
  EXPECT_EQ(parse_snp_firmware(Bytes(4096)).error().code(), Errc::malformed);
  EXPECT_EQ(parse_snp_firmware(Bytes(kMaxSnpFirmwareSize + 1)).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(refusal_of([](Parts& p) { p.signature = "TDVF"; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.version = 2; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.count = 4; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.count = 65; }), Errc::limit_exceeded);
  EXPECT_EQ(refusal_of([](Parts& p) { p.length = 16; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.distance = 0; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.distance = 4097; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.distance = 60; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.entries[0].second.pop_back(); }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.entries[1].second.pop_back(); }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.entries[1].second[4] = 0xAF, p.entries[1].second[5] = 0; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.entries[1].second[0] = 0x51, p.entries[1].second[1] = 0x0F; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.entries.push_back(p.entries[0]); }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.entries.emplace_back(kSvsmInfo, Bytes(5)); }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.sections[0].gpa += 1; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.sections[0].size += 1; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.sections[0].size = 0; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.sections[0].size = (64U << 20) + 0x1000; }), Errc::malformed);
  EXPECT_EQ(refusal_of([](Parts& p) { p.sections[0].gpa = 0xFFFFF000; }), Errc::malformed);
  for (const std::size_t one_page : {1U, 2U, 4U}) {
    EXPECT_EQ(refusal_of([&](Parts& p) { p.sections[one_page].size = 0x2000; }), Errc::malformed) << one_page;
  }
  EXPECT_EQ(refusal_of([](Parts& p) { p.sections[3].type = static_cast<SnpSectionType>(5); }), Errc::unsupported);
}

TEST(SnpFirmware, TableEntriesLieInTheTable) {
  for (const std::size_t from_end : {32U + 18U, 32U + 18U + 18U}) {  // the footer's length, the last entry's
    auto firmware = firmware_of(whole());
    firmware[firmware.size() - from_end] = 0xFF;
    firmware[firmware.size() - from_end + 1] = 0xFF;
    EXPECT_EQ(parse_snp_firmware(firmware).error().code(), Errc::malformed) << from_end;
    firmware[firmware.size() - from_end] = 17;
    firmware[firmware.size() - from_end + 1] = 0;
    EXPECT_EQ(parse_snp_firmware(firmware).error().code(), Errc::malformed) << from_end;
  }
}

TEST(SnpFirmware, WithoutMetadataHasNoSections) {
  auto firmware = firmware_of(whole());
  firmware[firmware.size() - 32 - 18 - 1] ^= 1;  // another GUID
  const auto parsed = parse_snp_firmware(firmware).value();
  EXPECT_TRUE(parsed.sections.empty());
}

// --- the order of pages ---

struct Seen {
  SnpPageType type;
  std::uint64_t gpa;
  friend bool operator==(const Seen&, const Seen&) = default;
};

std::vector<Seen> order_of(const SnpLaunch& launch) {
  std::vector<Seen> out;
  const auto walked = for_each_snp_page(launch, [&out](const SnpLaunchPage& page) -> Result<void> {
    out.push_back({page.type, page.gpa});
    return {};
  });
  EXPECT_TRUE(walked.ok());
  return out;
}

TEST(SnpLaunch, PagesAreInTheVmmsOrder) {
  const auto firmware = firmware_of(whole());
  auto launch = launch_of(firmware);
  launch.vcpus = 2;
  using enum SnpPageType;
  EXPECT_EQ(order_of(launch), (std::vector<Seen>{{normal, 0xFFFFF000}, {zero, 0x800000}, {zero, 0x801000}, {secrets, 0x80D000},
                                                 {cpuid, 0x80E000}, {zero, 0x80F000}, {zero, 0x810000}, {vmsa, kSnpVmsaGpa},
                                                 {vmsa, kSnpVmsaGpa}}));
  launch.vmm = SnpVmm::ec2;
  launch.kernel = KernelHashes{};
  EXPECT_EQ(order_of(launch), (std::vector<Seen>{{normal, 0xFFFFF000}, {zero, 0x800000}, {zero, 0x801000}, {secrets, 0x80D000},
                                                 {zero, 0x80F000}, {normal, 0x810000}, {cpuid, 0x80E000}, {vmsa, kSnpVmsaGpa},
                                                 {vmsa, kSnpVmsaGpa}}));
  launch.vmm = SnpVmm::gce;
  EXPECT_EQ(order_of(launch)[1], (Seen{unmeasured, 0x800000}));
}

TEST(SnpLaunch, EverythingThatIsGivenCounts) {
  const auto firmware = firmware_of(whole());
  const auto base = launch_of(firmware);
  std::set<Digest48> seen;
  const auto differs = [&](const SnpLaunch& launch) { return seen.insert(snp_launch_digest(launch).value()).second; };
  EXPECT_TRUE(differs(base));
  for (const auto vmm : {SnpVmm::ec2, SnpVmm::gce, SnpVmm::krun}) {
    auto other = base;
    other.vmm = vmm;
    EXPECT_TRUE(differs(other));
    other.vcpu_signature = 1;  // counts with QEMU alone
    EXPECT_FALSE(differs(other));
  }
  auto other = base;
  other.vcpus = 2;
  EXPECT_TRUE(differs(other));
  other = base;
  other.vcpu_signature = 1;
  EXPECT_TRUE(differs(other));
  other = base;
  other.guest_features = 0x21;
  EXPECT_TRUE(differs(other));
  other.kernel = KernelHashes::of(to_bytes("kernel"), to_bytes("initrd"), "quiet");
  EXPECT_TRUE(differs(other));
  for (auto* hash : {&other.kernel->kernel, &other.kernel->initrd, &other.kernel->cmdline}) {
    (*hash)[0] ^= 1;
    EXPECT_TRUE(differs(other));
  }
}

TEST(SnpLaunch, ContinuesAfterTheFirmware) {
  const auto firmware = firmware_of(whole());
  const auto launch = launch_of(firmware);
  EXPECT_EQ(snp_launch_digest_after(snp_firmware_digest(firmware).value(), launch).value(), snp_launch_digest(launch).value());
}

TEST(SnpLaunch, RefusesWhatNoVmmCouldLaunch) {
  const auto firmware = firmware_of(whole());
  auto launch = launch_of(firmware);
  for (const auto vcpus : {0U, kMaxSnpVcpus + 1}) {
    launch.vcpus = vcpus;
    EXPECT_EQ(snp_launch_digest(launch).error().code(), Errc::invalid_argument);
    EXPECT_EQ(sev_es_launch_digest(launch).error().code(), Errc::invalid_argument);
    EXPECT_EQ(svsm_launch_digest({.firmware = firmware, .svsm = firmware, .vcpus = vcpus}).error().code(), Errc::invalid_argument);
  }
  const auto odd = firmware_of([] { auto p = whole(); p.size += 16; return p; }());
  EXPECT_EQ(snp_launch_digest(launch_of(odd)).error().code(), Errc::malformed);
  EXPECT_EQ(snp_firmware_digest(odd).error().code(), Errc::malformed);
  EXPECT_EQ(snp_launch_digest(launch_of({})).error().code(), Errc::malformed);

  const auto without_reset = firmware_of([] { auto p = whole(); p.entries.erase(p.entries.begin()); return p; }());
  auto two = launch_of(without_reset);
  EXPECT_TRUE(snp_launch_digest(two).ok());
  two.vcpus = 2;
  EXPECT_EQ(snp_launch_digest(two).error().code(), Errc::invalid_argument);

  const auto no_table = firmware_of([] { auto p = whole(); p.entries.pop_back(); return p; }());
  auto booted = launch_of(no_table);
  booted.kernel = KernelHashes{};
  EXPECT_EQ(snp_launch_digest(booted).error().code(), Errc::invalid_argument);
  EXPECT_EQ(sev_launch_digest(no_table, booted.kernel).error().code(), Errc::invalid_argument);
  const auto no_section = firmware_of([] { auto p = whole(); p.sections.pop_back(); return p; }());
  booted.firmware = no_section;
  EXPECT_EQ(snp_launch_digest(booted).error().code(), Errc::invalid_argument);

  EXPECT_EQ(svsm_launch_digest({.firmware = firmware, .svsm = firmware}).error().code(), Errc::malformed);  // it is none
  const auto svsm = firmware_of([] { auto p = whole(); p.entries.emplace_back(kSvsmInfo, u32(0)); return p; }());
  EXPECT_TRUE(svsm_launch_digest({.firmware = firmware, .svsm = svsm}).ok());
  EXPECT_EQ(svsm_launch_digest({.firmware = firmware, .svsm = svsm, .vars_size = 1}).error().code(), Errc::invalid_argument);
  EXPECT_NE(svsm_launch_digest({.firmware = firmware, .svsm = svsm, .vars_size = 4096}).value(),
            svsm_launch_digest({.firmware = firmware, .svsm = svsm}).value());
}

}  // namespace
}  // namespace cloister::measure
