#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/policy/policy.hpp"
#include "dcap_lesson.hpp"
#include "hex_text.hpp"
#include "sgx_lesson.hpp"

/// An enclave that is what it should be, but for one bit of ATTRIBUTES.
namespace cloister::exercise::debug_leak {
namespace {

namespace json = codec::json;
namespace flag = evidence::sgx_flag;
using lab_sgx::Code;

constexpr lab_sgx::EpcIndex kDataPage = 4;
constexpr std::uint64_t kDataAddress = 0x12000;
constexpr std::uint64_t kSecretOffset = 0x40;
constexpr std::string_view kSecret = "API-KEY=31337-c0ffee";
constexpr std::size_t kQuoteFlags = 48 + 48;  // header, then ATTRIBUTES in the report

sgx::Plan plan_with(std::uint8_t flags) {
  auto plan = sgx::plan_of("payment client");
  plan.pages.push_back({.name = "data", .offset = 0x2000, .secinfo = measure::SecInfo::reg(true, true, false)});
  plan.attributes[0] = flags;
  return plan;
}

constexpr std::uint8_t kProduction = flag::kMode64;

/// What the production enclave left on disk.
Bytes production_blob() {
  lab_sgx::Cpu cpu{sgx::root(), {.cpu_svn = sgx::kCpuSvn, .pages = 8}};
  EventLog unused;
  const auto plan = plan_with(kProduction);
  CLOISTER_ASSERT(sgx::load(cpu, unused, plan, 0, sgx::sigstruct_for(plan, {})) == Code::success && cpu.eenter(0, 1) == Code::success);
  sgx::LessonRandom random{"debug-leak"};
  return lab_sgx::seal(cpu, 0, lab_sgx::key_policy::kMrEnclave, as_bytes("customers"), {}, random).value();
}

/// The server's part: verify the quote, decide, and only then hand out the key.
void provision(lab_sgx::Cpu& cpu, EventLog& log, const std::string& server) {
  const auto qe = dcap::quoting_enclave(cpu, dcap::platform());
  const auto quote = evidence::parse_quote(dcap::quote(cpu, qe, {})).value();
  policy::Policy policy;
  policy.allow_debug = server == "naive";
  policy.measurements.push_back({});
  policy.measurements.front().mr_enclave = sgx::mrenclave_of(plan_with(kProduction));
  const auto outcome = dcap::verify(quote, dcap::platform(), qe.identity());
  CLOISTER_ASSERT(outcome.evidence.has_value());  // a genuine quote
  const auto decision = policy::decide(policy, *outcome.evidence, dcap::now());
  log.add("verifier", "DECIDE", {{"server", server}, {"quote[0x60]", codec::to_hex(quote.bytes().subspan(kQuoteFlags, 1))},
                                 {"mrenclave", sgx::brief(quote.sgx()->mr_enclave)}},
          decision.accepted ? "accepted" : decision.error().text());
  if (!decision.accepted) return;
  const auto written = cpu.write(0, kDataAddress + kSecretOffset, as_bytes(kSecret));
  log.add("enclave", "KEEP", {{"page", "data"}, {"offset", hex_number(kSecretOffset)}}, sgx::outcome(written));
}

void debug_read(const lab_sgx::Cpu& cpu, EventLog& log, std::uint64_t offset) {
  const auto word = cpu.edbgrd(kDataPage, offset);
  json::Object with{{"page", "data"}, {"offset", hex_number(offset)}};
  if (word.ok()) {
    std::string text{as_text(word.value())};
    std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '.');
    with.emplace_back("bytes", codec::to_hex(word.value()));
    with.emplace_back("text", text);
  }
  log.add("host", "EDBGRD", std::move(with), word.ok() ? "success" : sgx::outcome(word.code()));
}

void load(std::optional<lab_sgx::Cpu>& cpu, EventLog& log, const std::string& sigstruct, std::uint8_t flags) {
  cpu.emplace(sgx::root(), lab_sgx::Cpu::Options{.cpu_svn = sgx::kCpuSvn, .pages = 32});
  const std::uint8_t mask = sigstruct == "strict" ? 0xFF : 0xFF & ~flag::kDebug;
  log.add("vendor", "SIGSTRUCT", {{"attributes", "0x04"}, {"attributemask", "0x" + codec::to_hex(ByteArray<1>{mask})}}, sigstruct);
  const auto vouched = sgx::sigstruct_for(plan_with(kProduction), {.flags_mask = mask});
  if (sgx::load(*cpu, log, plan_with(flags), 0, vouched) != Code::success || cpu->eenter(0, 1) != Code::success) cpu.reset();
}

Result<void> replay(const Files& files, EventLog& log) {
  std::optional<lab_sgx::Cpu> cpu;
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op == "LOAD") {
      const auto sigstruct = one_of(fields, "sigstruct", {"strict", "sdk"});
      const auto flags = static_cast<std::uint8_t>(number(fields, "attributes", 0xFF));
      CLOISTER_CHECK(fields.finish());
      load(cpu, log, sigstruct, flags);
    } else if (op == "PROVISION") {
      const auto server = one_of(fields, "server", {"naive", "careful"});
      CLOISTER_CHECK(fields.finish());
      if (cpu && cpu->identity_on(3) == nullptr) {
        provision(*cpu, log, server);
      } else {
        log.add("verifier", "DECIDE", {{"server", server}}, cpu ? "asked this enclave before" : "no enclave runs");
      }
    } else if (op == "EDBGRD") {
      const auto offset = number(fields, "offset", measure::kSgxPageSize);
      CLOISTER_CHECK(fields.finish());
      if (cpu) {
        debug_read(*cpu, log, offset);
      } else {
        log.add("host", op, {}, "no enclave runs");
      }
    } else if (op == "UNSEAL") {
      CLOISTER_CHECK(fields.finish());
      if (cpu) {
        sgx::unseal(*cpu, 0, log, {{"sealed_by", "the production enclave"}}, production_blob(), {});
      } else {
        log.add("enclave", op, {}, "no enclave runs");
      }
    } else {
      return unknown_op(op, "LOAD, PROVISION, EDBGRD, UNSEAL");
    }
    return {};
  });
}

/// Whether an event with that outcome came after a started enclave with DEBUG, or without it, and before the next.
bool in_enclave(const EventLog& log, bool debug, std::string_view op, std::string_view outcome, std::string_view detail,
                std::string_view value) {
  bool is_debug = false;
  bool runs = false;
  for (const auto& event : log.events()) {
    if (event.op == "ECREATE") {
      is_debug = event.detail("attributes") == "0x06";
      runs = false;
    }
    if (event.op == "EINIT") runs = event.outcome == "success";
    if (runs && is_debug == debug && event.op == op && event.outcome.starts_with(outcome) && event.detail(detail).starts_with(value)) {
      return true;
    }
  }
  return false;
}

constexpr Goal kGoals[] = {
    {"A production enclave shows its pages to no debugger", 1,
     [](const EventLog& log) { return in_enclave(log, false, "EDBGRD", "#GP", "page", "data"); },
     "LOAD with attributes 0x04 and try EDBGRD"},
    {"A strict SIGSTRUCT does not let you add DEBUG", 2,
     [](const EventLog& log) {
       return happened(log, "ECREATE", "success", {{"attributes", "0x06"}}) && happened(log, "EINIT", "SGX_INVALID_ATTRIBUTE");
     },
     "LOAD the strict SIGSTRUCT with DEBUG (bit 1) set beside MODE64 (bit 2) in attributes"},
    {"Under the sdk SIGSTRUCT you read the key that the naive server sent", 3,
     [](const EventLog& log) { return in_enclave(log, true, "EDBGRD", "success", "text", "API-KEY"); },
     "LOAD the sdk SIGSTRUCT with DEBUG, PROVISION from the naive server, and EDBGRD where KEEP says the key is"},
    {"The careful server sees one byte, and keeps the key", 2,
     [](const EventLog& log) { return happened(log, "DECIDE", "debug_not_accepted", {{"server", "careful"}, {"quote[0x60]", "07"}}); },
     "LOAD the debug enclave again, and PROVISION from the careful server"},
    {"What production sealed stays shut for the debug enclave", 2,
     [](const EventLog& log) { return in_enclave(log, true, "UNSEAL", "decryption_failed", "sealed_by", "the production"); },
     "UNSEAL in the debug enclave"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 2, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::debug_leak
