#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/lab_snp/host.hpp"
#include "hex_text.hpp"
#include "sgx_lesson.hpp"

/// A host that starts something else than was asked for, on the lab's machine with SEV-SNP.
namespace cloister::exercise::wrong_launch {
namespace {

namespace json = codec::json;
using lab_snp::Status;
using measure::SnpPageType;

constexpr std::size_t kMaxText = 256;
constexpr auto kProduct = evidence::SnpProduct::milan;
constexpr std::size_t kMemoryPages = 64;
constexpr std::uint32_t kAsid = 1;
constexpr std::uint64_t kPolicy = lab_snp::LaunchStart{}.policy;

struct Launch {
  std::string kernel = "vmlinuz 6.12";
  std::string command_line = "console=ttyS0 ro";
  bool owners_table = true;  // of hashes, else one over the files that are given
  std::uint32_t vcpus = 1;
  bool hashes_first = false;  // adds the page of hashes before the firmware
};

struct NamedPage {
  std::string name;
  SnpPageType type;
  std::uint64_t gpa;
  Bytes contents;  // a page where they are measured
};

std::string_view to_string(SnpPageType type) {
  switch (type) {
    case SnpPageType::normal:
      return "NORMAL";
    case SnpPageType::vmsa:
      return "VMSA";
    case SnpPageType::zero:
      return "ZERO";
    case SnpPageType::unmeasured:
      return "UNMEASURED";
    case SnpPageType::secrets:
      return "SECRETS";
    case SnpPageType::cpuid:
      return "CPUID";
  }
  return "unknown";
}

const Bytes& firmware_image() {
  static const auto image = lab_snp::small_firmware(3);
  return image;
}
std::uint64_t firmware_gpa() { return (std::uint64_t{1} << 32) - firmware_image().size(); }
/// Where it looks for the kernel's hashes.
std::uint64_t hashes_gpa() { return *measure::parse_snp_firmware(firmware_image())->kernel_hashes_gpa; }

/// Texts stand for the files; there is no initrd.
measure::KernelHashes hashes_of(const Launch& launch) {
  return measure::KernelHashes::of(as_bytes(launch.kernel), {}, launch.command_line);
}

std::string name_of(const measure::SnpLaunchPage& page, std::size_t vcpus_before) {
  switch (page.type) {
    case SnpPageType::normal:
      return page.gpa < firmware_gpa() ? "kernel-hashes" : "firmware+" + hex_number(page.gpa - firmware_gpa());
    case SnpPageType::vmsa:
      return "vmsa-" + std::to_string(vcpus_before);
    case SnpPageType::zero:
      return "sec-mem";
    case SnpPageType::unmeasured:
      return "unmeasured";
    case SnpPageType::secrets:
      return "secrets";
    case SnpPageType::cpuid:
      return "cpuid";
  }
  return "unknown";
}

/// The SNP_LAUNCH_UPDATEs of a launch, in QEMU's order or in this host's.
std::vector<NamedPage> pages_of(const Launch& launch) {
  std::vector<NamedPage> out;
  std::size_t vcpus = 0;
  const auto walked =
      measure::for_each_snp_page({.firmware = firmware_image(),
                                  .kernel = hashes_of(launch.owners_table ? Launch{} : launch),
                                  .vcpus = launch.vcpus,
                                  .vcpu_signature = lab_snp::cpuid_of(kProduct)[1].eax},
                                 [&](const measure::SnpLaunchPage& page) -> Result<void> {
                                   out.push_back({name_of(page, vcpus), page.type, page.gpa, to_bytes(page.contents)});
                                   vcpus += page.type == SnpPageType::vmsa ? 1U : 0U;
                                   return {};
                                 });
  CLOISTER_ASSERT(walked.ok());  // the firmware is the lab's
  if (launch.hashes_first) {
    const auto hashes = std::ranges::find(out, "kernel-hashes", &NamedPage::name);
    std::rotate(out.begin(), hashes, hashes + 1);
  }
  return out;
}

/// The launch digest after each page, as the owner computes it.
std::vector<Digest48> ladder_of(const std::vector<NamedPage>& pages) {
  measure::SnpLaunchDigest digest;
  std::vector<Digest48> out;
  for (const auto& page : pages) {
    digest.update(page.type, page.gpa, page.contents);
    out.push_back(digest.value());
  }
  return out;
}

/// The owner's ID block over the digest that the guest is to have.
lab_snp::LaunchFinish signed_for(const Digest48& digest) {
  static const auto key = crypto::EcPrivateKey::derive(crypto::Curve::p384, as_bytes("cloister/lab/1/exercises"),
                                                       as_bytes("wrong-launch: ID key"));
  lab_snp::IdBlock block;
  block.launch_digest = digest;
  block.policy = kPolicy;
  lab_snp::LaunchFinish out;
  out.id_block_enabled = true;
  out.id_block = lab_snp::encode_id_block(block);
  out.id_auth = lab_snp::encode_id_auth(lab_snp::sign_id_block(block, key));
  return out;
}

/// Firmware wants a maker, of which nothing is seen here: one for all attempts of a process, as its RSA keys take a
/// moment.
const lab_snp::Authority& authority() {
  static const auto made =
      lab_snp::Authority::create(crypto::Secret<32>{crypto::sha256(as_bytes("cloister/lab/1/exercises/SNP chip"))},
                                 lab_snp::AuthorityKeys::generate(2048), UnixTime{});
  return made;
}

std::string brief(const Digest48& digest) { return codec::to_hex(ByteView{digest}.first(4)); }

/// A machine, on which one guest after the other is launched.
class Machine {
 public:
  explicit Machine(EventLog& log) : log_{log} {}

  void launch(const Launch& given) {
    auto guest = host_.create({.policy = kPolicy, .gosvw = {}}).value();
    CLOISTER_ASSERT(host_.activate(guest, kAsid).ok());
    if (measured_as_signed(guest, given)) boot(guest, given);
    host_.end(guest);
  }

 private:
  bool measured_as_signed(lab_snp::HostedGuest& guest, const Launch& given) {
    const auto pages = pages_of(given);
    std::size_t parted = 0;  // how many pages the digest was the owner's
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const auto& page = pages[i];
      CLOISTER_ASSERT(host_.add_page(guest, {page.type, page.gpa, page.contents}).ok());
      const auto digest = firmware_.guest_status(guest.context)->launch_digest;
      const bool same = parted == i && i < expected_.size() && digest == expected_[i];
      log_.add(
          "host", "SNP_LAUNCH_UPDATE",
          {{"page", page.name}, {"type", to_string(page.type)}, {"gpa", hex_number(page.gpa)}, {"ld", brief(digest)}},
          same          ? "as the owner's"
          : parted == i ? "diverges here"
                        : "diverged");
      if (same) ++parted;
    }
    const auto status = firmware_.launch_finish(guest.context, finish_);
    log_.add("firmware", "SNP_LAUNCH_FINISH",
             {{"diverges_at", parted < pages.size() ? pages[parted].name
                                                    : std::string{parted < expected_.size() ? "the end" : "nothing"}},
              {"same_pages", names_of(pages) == names_of(owners_)},
              {"ld", brief(firmware_.guest_status(guest.context)->launch_digest)},
              {"id_block", brief(expected_.back())}},
             status == Status::success ? "success"
                                       : std::string{lab_snp::to_string(status)} + " (" +
                                             hex_number(static_cast<std::uint32_t>(status)) + ")");
    return status == Status::success;
  }

  /// Names and contents, whatever the order.
  static std::vector<std::string> names_of(const std::vector<NamedPage>& pages) {
    std::vector<std::string> out;
    for (const auto& page : pages) out.push_back(page.name + codec::to_hex(crypto::sha256(page.contents)));
    std::ranges::sort(out);
    return out;
  }

  /// OVMF, which was measured, compares what it is given with the table in its memory, which was measured.
  void boot(const lab_snp::HostedGuest& guest, const Launch& given) {
    const auto at = hashes_gpa();
    const auto offset = at % lab_snp::kSmallPage;
    const auto loaded = memory_.guest_read(lab_snp::Host::view(guest, at - offset));
    CLOISTER_ASSERT(loaded.ok());
    const auto table = hashes_of(given).table();
    const bool fits = same_bytes(ByteView{loaded.page}.subspan(offset, table.size()), table);
    const Launch owners;
    const bool changed = given.kernel != owners.kernel || given.command_line != owners.command_line;
    log_.add("guest", "BOOT", {{"kernel", given.kernel}, {"cmdline", given.command_line}, {"changed", changed}},
             fits ? "started" : "OVMF: hash mismatch, not booted");
  }

  EventLog& log_;
  const std::vector<NamedPage> owners_ = pages_of({});
  const std::vector<Digest48> expected_ = ladder_of(owners_);
  const lab_snp::LaunchFinish finish_ = signed_for(expected_.back());
  sgx::LessonRandom random_{"wrong-launch"};
  lab_snp::Memory memory_{kMemoryPages};
  lab_snp::Firmware firmware_ =
      lab_snp::Firmware::start(authority(), memory_, random_,
                               lab_snp::PlatformOptions::at(kProduct, lab_snp::usual_tcb(kProduct)))
          .value();
  lab_snp::Host host_{memory_, firmware_};
};

std::string text(json::Fields& fields, std::string_view name) {
  auto out = fields.string(name);
  if (!fields.failed() && out.size() > kMaxText) fields.fail(Errc::limit_exceeded, name, "at most 256 bytes expected");
  return out;
}

Result<void> replay(const Files& files, EventLog& log) {
  Machine machine{log};
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "LAUNCH") return unknown_op(op, "LAUNCH");
    Launch given;
    given.kernel = text(fields, "kernel");
    given.command_line = text(fields, "cmdline");
    given.owners_table = one_of(fields, "hash_table", {"owner", "own"}) == "owner";
    given.vcpus = static_cast<std::uint32_t>(number(fields, "vcpus", 8));
    given.hashes_first = one_of(fields, "first", {"firmware", "hashes"}) == "hashes";
    if (!fields.failed() && given.vcpus == 0) fields.fail(Errc::malformed, "vcpus", "1 to 8 expected");
    CLOISTER_CHECK(fields.finish());
    machine.launch(given);
    return {};
  });
}

constexpr Goal kGoals[] = {
    {"Another command line, with a table to match: the digest diverges at the page of hashes", 3,
     [](const EventLog& log) {
       return happened(log, "SNP_LAUNCH_FINISH", "BAD_MEASUREMENT",
                       {{"diverges_at", "kernel-hashes"}, {"same_pages", "false"}});
     },
     "change cmdline and let the table be your own"},
    {"Another command line under the owner's table: the digest holds, and firmware does not boot it", 3,
     [](const EventLog& log) {
       return happened(log, "BOOT", "OVMF: hash mismatch", {{"changed", "true"}});
     },
     "change cmdline and keep the owner's table"},
    {"One vCPU more: the digest diverges at its VMSA", 2,
     [](const EventLog& log) {
       return happened(log, "SNP_LAUNCH_FINISH", "BAD_MEASUREMENT", {{"diverges_at", "vmsa-1"}});
     },
     "add a virtual CPU and change nothing else"},
    {"The same pages in another order: another digest", 2,
     [](const EventLog& log) {
       return happened(log, "SNP_LAUNCH_FINISH", "BAD_MEASUREMENT", {{"same_pages", "true"}});
     },
     "add the page of hashes before the firmware"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{
    .tee = "SEV-SNP", .level = 1, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::wrong_launch
