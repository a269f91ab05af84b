#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "hex_text.hpp"
#include "sgx_lesson.hpp"

/// A page of code with one changed byte, on its way into an enclave.
namespace cloister::exercise::tampered_page {
namespace {

namespace json = codec::json;
using lab_sgx::Code;

constexpr std::size_t kEntry = 0x200;  // of check_licence in its page
constexpr std::size_t kMaxInstructions = 32;
constexpr std::uint64_t kCodeAddress = 0x11000;

/// check_licence(rdi = 0: no licence). The shipped page, and what `code.hex` begins with.
constexpr ByteArray<5> kCheck{0x48, 0x85, 0xFF, 0x74, 0x06};   // test rdi, rdi; je +6
constexpr ByteArray<6> kAllow{0xB8, 0x01, 0x00, 0x00, 0x00, 0xC3};  // mov eax, 1; ret
constexpr ByteArray<3> kDeny{0x31, 0xC0, 0xC3};                // xor eax, eax; ret
constexpr std::string_view kBanner = "Acme player, enclave part. ";

Files more_files() {
  Bytes banner(kEntry, 0x90);
  std::ranges::copy(as_bytes(kBanner), banner.begin());
  HexText text;
  text.note("The page of code at offset 0x1000 of the enclave; what is not here is zero. EEXTEND measures it in chunks of");
  text.note("256 bytes: chunk 0 is 0x000 to 0x0ff, chunk 2 is 0x200 to 0x2ff.");
  text.field("banner, then nop", banner);
  text.field("check_licence: test rdi, rdi (the licence, 0: none); je deny", kCheck);
  text.field("allow: mov eax, 1; ret", kAllow);
  text.field("deny: xor eax, eax; ret", kDeny);
  return {{"code.hex", text.text()}};
}

Bytes shipped_code() { return parse_hex_text(more_files().at("code.hex"), measure::kSgxPageSize).value(); }

sgx::Plan plan_with(ByteView code) {
  auto plan = sgx::plan_of("");
  plan.pages[1].contents = sgx::page_of(code);
  return plan;
}

/// Runs check_licence(0) as the processor would: the few instructions that it is made of, and their neighbours.
std::string run(ByteView page) {
  std::uint32_t eax = 0xDEAD;
  std::size_t at = kEntry;
  constexpr bool kZero = true;  // the flag after `test rdi, rdi`, for rdi = 0
  for (std::size_t n = 0; n < kMaxInstructions && at + 5 <= page.size(); ++n) {
    const auto op = page[at];
    const auto jump = [&](bool taken) {
      const auto by = static_cast<std::int8_t>(page[at + 1]);
      at = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(at) + 2 + (taken ? by : 0));
    };
    if (op == 0x48 && page[at + 1] == 0x85 && page[at + 2] == 0xFF) {
      at += 3;
    } else if (op == 0x74 || op == 0x75 || op == 0xEB) {
      jump(op == 0xEB || (op == 0x74) == kZero);
    } else if (op == 0x90) {
      ++at;
    } else if (op == 0xB8) {
      eax = page[at + 1] | static_cast<std::uint32_t>(page[at + 2]) << 8 | static_cast<std::uint32_t>(page[at + 3]) << 16 |
            static_cast<std::uint32_t>(page[at + 4]) << 24;
      at += 5;
    } else if (op == 0x31 && page[at + 1] == 0xC0) {
      eax = 0;
      at += 2;
    } else if (op == 0xC3) {
      return eax == 0 ? "denied (eax = 0)" : "allowed (eax = " + std::to_string(eax) + ")";
    } else {
      return "#UD at " + hex_number(at);
    }
  }
  return "never returned";
}

/// Where the running hash leaves that of the shipped page.
void compare(EventLog& log, ByteView code) {
  const auto shipped = sgx::page_of(shipped_code());
  const auto given = sgx::page_of(code);
  std::size_t bytes = 0;
  std::string first_at = "none";
  std::string chunk = "none";
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i] == shipped[i]) continue;
    if (bytes++ > 0) continue;
    first_at = hex_number(i) + ": " + codec::to_hex(ByteView{shipped}.subspan(i, 1)) + " is " + codec::to_hex(ByteView{given}.subspan(i, 1));
    chunk = std::to_string(i / measure::kSgxChunkSize);
  }
  log.add("verifier", "COMPARE", {{"page", "code"}, {"bytes_changed", std::uint64_t{bytes}}, {"first", first_at}, {"diverges_at_chunk", chunk}},
          bytes == 0 ? "the shipped page" : "another page");
}

Result<void> replay(const Files& files, EventLog& log) {
  CLOISTER_TRY(code, hex_file(files, "code.hex", measure::kSgxPageSize));
  const auto plan = plan_with(code);
  const auto shipped = plan_with(shipped_code());
  compare(log, code);
  std::optional<lab_sgx::Cpu> cpu;  // with the enclave entered on processor 0, once one started
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "LOAD" && op != "RUN" && op != "UNSEAL") return unknown_op(op, "LOAD, RUN, UNSEAL");
    const auto who = op == "LOAD" ? one_of(fields, "sigstruct", {"vendor", "mallory"}) : std::string{};
    CLOISTER_CHECK(fields.finish());
    if (op == "LOAD") {
      cpu.emplace(sgx::root(), lab_sgx::Cpu::Options{.cpu_svn = sgx::kCpuSvn, .pages = 8});
      // The vendor signed what it shipped. Mallory signs what is there.
      const auto sigstruct = sgx::sigstruct_for(who == "vendor" ? shipped : plan, {.who = who});
      if (sgx::load(*cpu, log, plan, 0, sigstruct) != Code::success || cpu->eenter(0, 1) != Code::success) cpu.reset();
    } else if (!cpu) {
      log.add("host", op, {}, "no enclave runs");
    } else if (op == "RUN") {
      Bytes page;
      for (std::size_t at = 0; at < measure::kSgxPageSize; at += measure::kSgxChunkSize) {
        append(page, cpu->read(0, kCodeAddress + at, measure::kSgxChunkSize).value());
      }
      log.add("enclave", "RUN", {{"call", "check_licence(0)"}}, run(page));
    } else {
      lab_sgx::Cpu vendors{sgx::root(), {.cpu_svn = sgx::kCpuSvn, .pages = 8}};
      EventLog unused;
      CLOISTER_ASSERT(sgx::load(vendors, unused, shipped, 0, sgx::sigstruct_for(shipped, {})) == Code::success);
      CLOISTER_ASSERT(vendors.eenter(0, 1) == Code::success);
      sgx::LessonRandom random{"tampered-page"};
      const auto blob = lab_sgx::seal(vendors, 0, lab_sgx::key_policy::kMrSigner, as_bytes("the content key"), {}, random).value();
      sgx::unseal(*cpu, 0, log, {{"sealed_by", "the shipped enclave"}}, blob, {});
    }
    return {};
  });
}

constexpr Goal kGoals[] = {
    {"With one byte changed, the vendor's SIGSTRUCT does not start the enclave", 4,
     [](const EventLog& log) {
       return happened(log, "COMPARE", "another page", {{"bytes_changed", "1"}}) && happened(log, "EINIT", "SGX_INVALID_MEASUREMENT");
     },
     "change one byte in code.hex, so that check_licence allows what it denied, and LOAD it with the vendor's SIGSTRUCT"},
    {"Signed by yourself it starts, and allows", 3,
     [](const EventLog& log) {
       return happened(log, "COMPARE", "another page", {{"bytes_changed", "1"}}) && happened(log, "RUN", "allowed");
     },
     "LOAD the changed page with your own SIGSTRUCT (mallory), then RUN: which one byte of `je deny` makes it fall through?"},
    {"It does not get the vendor's key", 3,
     [](const EventLog& log) {
       const auto run = first(log, 0, "RUN", "allowed");
       return first(log, run, "UNSEAL", "decryption_failed") < log.events().size();
     },
     "after RUN, let the cracked enclave UNSEAL what the shipped one sealed"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 1, .more_files = more_files, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::tampered_page
