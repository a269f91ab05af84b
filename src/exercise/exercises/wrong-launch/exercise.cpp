#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/measure/snp.hpp"
#include "hex_text.hpp"

/// A host that starts something else than was asked for.
namespace cloister::exercise::wrong_launch {
namespace {

namespace json = codec::json;
using measure::SnpPageType;

constexpr std::size_t kPage = measure::kSnpPageSize;
constexpr std::size_t kMaxText = 256;
constexpr std::uint64_t kFirmwareEnd = std::uint64_t{1} << 32;
constexpr std::size_t kFirmwarePages = 4;
constexpr std::uint64_t kHashesGpa = 0x80F000;
constexpr std::size_t kHashesAt = 0xC00;  // in that page

struct LaunchPage {
  std::string name;
  SnpPageType type;
  std::uint64_t gpa;
  Bytes contents;  // a page where they are measured
};

struct Launch {
  std::string kernel = "vmlinuz 6.12";
  std::string command_line = "console=ttyS0 ro";
  bool owners_table = true;   // of hashes, else one over the files that are given
  std::uint64_t vcpus = 1;
  bool hashes_first = false;  // adds the page of hashes before the firmware
};

std::string_view to_string(SnpPageType type) {
  switch (type) {
    case SnpPageType::normal: return "NORMAL";
    case SnpPageType::vmsa: return "VMSA";
    case SnpPageType::zero: return "ZERO";
    case SnpPageType::unmeasured: return "UNMEASURED";
    case SnpPageType::secrets: return "SECRETS";
    case SnpPageType::cpuid: return "CPUID";
  }
  return "unknown";
}

/// A GUID's bytes: the first three groups little-endian.
Bytes guid(std::string_view text) {
  std::string digits{text};
  std::erase(digits, '-');
  auto bytes = codec::from_hex(digits).value();
  std::reverse(bytes.begin(), bytes.begin() + 4);
  std::reverse(bytes.begin() + 4, bytes.begin() + 6);
  std::reverse(bytes.begin() + 6, bytes.begin() + 8);
  return bytes;
}

/// The table that QEMU writes for OVMF: each entry a GUID, the entry's length and a SHA-256; 176 bytes with its padding. The
/// command line is hashed with the zero byte at its end; there is no initrd.
Bytes hash_table(std::string_view kernel, std::string_view command_line) {
  codec::Writer out;
  out.raw(guid("9438d606-4f22-4cc9-b479-a793d411fd21"));
  out.u16le(168);
  const auto entry = [&](std::string_view id, const Digest32& digest) {
    out.raw(guid(id));
    out.u16le(50);
    out.raw(digest);
  };
  entry("97d02dd8-bd20-4c94-aa78-e7714d36ab2a", crypto::sha256(as_bytes(std::string{command_line} + '\0')));
  entry("44baf731-3a2f-4bd7-9af1-41e29169781d", crypto::sha256(ByteView{}));
  entry("4de79437-abd2-427f-b835-d5b172d2045b", crypto::sha256(as_bytes(kernel)));
  out.zeros(176 - out.size());
  return std::move(out).take();
}

Bytes page_with(std::size_t at, ByteView bytes) {
  Bytes page(kPage);
  std::ranges::copy(bytes, page.begin() + static_cast<std::ptrdiff_t>(at));
  return page;
}

/// A VMSA in which the fields that matter to this lesson stand where the APM (volume 2, table B-4) has them: CS.base and RIP
/// (0xFFFFFFF0 for the first vCPU, firmware's reset vector for others), EFER, CR0, RFLAGS, SEV_FEATURES.
Bytes vmsa(bool first) {
  Bytes page(kPage);
  const auto put = [&](std::size_t at, std::uint64_t value) {
    for (std::size_t i = 0; i < 8; ++i) page[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  };
  put(0x18, first ? 0xFFFF0000 : 0x800000);  // CS.base
  put(0xD0, 0x1000);                         // EFER.SVME
  put(0x158, 0x10);                          // CR0.ET
  put(0x170, 2);                             // RFLAGS
  put(0x178, first ? 0xFFF0 : 0xB004);       // RIP
  put(0x3B0, 1);                             // SEV_FEATURES: SNP
  return page;
}

/// The SNP_LAUNCH_UPDATEs of a launch, in their order.
std::vector<LaunchPage> pages_of(const Launch& launch, const Bytes& table) {
  std::vector<LaunchPage> firmware;
  for (std::size_t i = 0; i < kFirmwarePages; ++i) {
    firmware.push_back({"firmware+" + hex_number(i * kPage), SnpPageType::normal, kFirmwareEnd - (kFirmwarePages - i) * kPage,
                        page_with(0, as_bytes("OVMF, page " + std::to_string(i)))});
  }
  const LaunchPage hashes{"kernel-hashes", SnpPageType::normal, kHashesGpa, page_with(kHashesAt, table)};
  std::vector<LaunchPage> out;
  if (launch.hashes_first) out.push_back(hashes);
  out.insert(out.end(), firmware.begin(), firmware.end());
  out.push_back({"sec-mem", SnpPageType::zero, 0x800000, {}});
  out.push_back({"secrets", SnpPageType::secrets, 0x80D000, {}});
  out.push_back({"cpuid", SnpPageType::cpuid, 0x80E000, {}});
  if (!launch.hashes_first) out.push_back(hashes);
  for (std::uint64_t i = 0; i < launch.vcpus; ++i) {
    out.push_back({"vmsa-" + std::to_string(i), SnpPageType::vmsa, measure::kSnpVmsaGpa, vmsa(i == 0)});
  }
  return out;
}

/// The launch digest after each page.
std::vector<Digest48> ladder_of(const std::vector<LaunchPage>& pages) {
  measure::SnpLaunchDigest digest;
  std::vector<Digest48> out;
  for (const auto& page : pages) {
    digest.update(page.type, page.gpa, page.contents);
    out.push_back(digest.value());
  }
  return out;
}

std::string brief(const Digest48& digest) { return codec::to_hex(ByteView{digest}.first(4)); }

Bytes owners_table() { return hash_table(Launch{}.kernel, Launch{}.command_line); }

void launch(EventLog& log, const Launch& given) {
  const Launch owners;
  const auto table = given.owners_table ? owners_table() : hash_table(given.kernel, given.command_line);
  const auto expected_pages = pages_of(owners, owners_table());
  const auto pages = pages_of(given, table);
  const auto expected = ladder_of(expected_pages);
  const auto ladder = ladder_of(pages);
  const auto parted = static_cast<std::size_t>(std::ranges::mismatch(ladder, expected).in1 - ladder.begin());
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const bool same = i < parted;
    log.add("host", "SNP_LAUNCH_UPDATE", {{"page", pages[i].name}, {"type", to_string(pages[i].type)}, {"gpa", hex_number(pages[i].gpa)},
                                          {"ld", brief(ladder[i])}}, same ? "as the owner's" : i == parted ? "diverges here" : "diverged");
  }
  auto names = [](const std::vector<LaunchPage>& all) {
    std::vector<std::string> out;
    for (const auto& page : all) out.push_back(page.name + codec::to_hex(crypto::sha256(page.contents)));
    std::ranges::sort(out);
    return out;
  };
  const bool holds = ladder.back() == expected.back();
  log.add("firmware", "SNP_LAUNCH_FINISH",
          {{"diverges_at", parted < pages.size() ? pages[parted].name : std::string{parted < expected.size() ? "the end" : "nothing"}},
           {"same_pages", names(pages) == names(expected_pages)}, {"ld", brief(ladder.back())}, {"id_block", brief(expected.back())}},
          holds ? "success" : "BAD_MEASUREMENT (0xb)");
  if (!holds) return;
  // OVMF, which was measured, compares what it is given with the table, which was measured.
  const bool changed = given.kernel != owners.kernel || given.command_line != owners.command_line;
  const bool fits = hash_table(given.kernel, given.command_line) == table;
  log.add("guest", "BOOT", {{"kernel", given.kernel}, {"cmdline", given.command_line}, {"changed", changed}},
          fits ? "started" : "OVMF: hash mismatch, not booted");
}

std::string text(json::Fields& fields, std::string_view name) {
  auto out = fields.string(name);
  if (!fields.failed() && out.size() > kMaxText) fields.fail(Errc::limit_exceeded, name, "at most 256 bytes expected");
  return out;
}

Result<void> replay(const Files& files, EventLog& log) {
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "LAUNCH") return unknown_op(op, "LAUNCH");
    Launch given;
    given.kernel = text(fields, "kernel");
    given.command_line = text(fields, "cmdline");
    given.owners_table = one_of(fields, "hash_table", {"owner", "own"}) == "owner";
    given.vcpus = number(fields, "vcpus", 8);
    given.hashes_first = one_of(fields, "first", {"firmware", "hashes"}) == "hashes";
    if (!fields.failed() && given.vcpus == 0) fields.fail(Errc::malformed, "vcpus", "1 to 8 expected");
    CLOISTER_CHECK(fields.finish());
    launch(log, given);
    return {};
  });
}

constexpr Goal kGoals[] = {
    {"Another command line, with a table to match: the digest diverges at the page of hashes", 3,
     [](const EventLog& log) {
       return happened(log, "SNP_LAUNCH_FINISH", "BAD_MEASUREMENT", {{"diverges_at", "kernel-hashes"}, {"same_pages", "false"}});
     },
     "change cmdline and let the table be your own"},
    {"Another command line under the owner's table: the digest holds, and firmware does not boot it", 3,
     [](const EventLog& log) { return happened(log, "BOOT", "OVMF: hash mismatch", {{"changed", "true"}}); },
     "change cmdline and keep the owner's table"},
    {"One vCPU more: the digest diverges at its VMSA", 2,
     [](const EventLog& log) { return happened(log, "SNP_LAUNCH_FINISH", "BAD_MEASUREMENT", {{"diverges_at", "vmsa-1"}}); },
     "add a virtual CPU and change nothing else"},
    {"The same pages in another order: another digest", 2,
     [](const EventLog& log) { return happened(log, "SNP_LAUNCH_FINISH", "BAD_MEASUREMENT", {{"same_pages", "true"}}); },
     "add the page of hashes before the firmware"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SEV-SNP", .level = 1, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::wrong_launch
