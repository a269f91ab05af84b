#include <map>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "sgx_lesson.hpp"

/// Which enclave opens what which other one sealed.
namespace cloister::exercise::seal_versions {
namespace {

namespace json = codec::json;
using lab_sgx::Code;

struct Build {
  std::string code;
  std::string who;
  std::uint16_t prod_id = 0;
  std::uint16_t svn = 0;
  std::uint8_t cpu_svn = 0;  // first component of the machine's
};

Build read_build(json::Fields& fields) {
  Build out;
  out.code = fields.string("code");
  out.who = one_of(fields, "signer", {"vendor", "mallory"});
  out.prod_id = static_cast<std::uint16_t>(number(fields, "isv_prod_id", 0xFFFF));
  out.svn = static_cast<std::uint16_t>(number(fields, "isv_svn", 0xFFFF));
  out.cpu_svn = static_cast<std::uint8_t>(number(fields, "cpu_svn", 0xFF));
  if (!fields.failed() && (out.code.empty() || out.code.size() > 64)) {
    fields.fail(Errc::malformed, "code", "1 to 64 bytes of code expected");
  }
  return out;
}

/// The enclave, entered on processor 0 of a machine of its own: the same chip after a reboot, with other microcode perhaps.
lab_sgx::Cpu started(const Build& build, EventLog& log) {
  lab_sgx::Cpu cpu{sgx::root(), {.cpu_svn = {build.cpu_svn}, .pages = 8}};
  const auto plan = sgx::plan_of(build.code);
  const auto sigstruct = sgx::sigstruct_for(plan, {.who = build.who, .prod_id = build.prod_id, .svn = build.svn});
  EventLog loading;  // the same leaves each time: the last says who it is
  CLOISTER_ASSERT(sgx::load(cpu, loading, plan, 0, sigstruct) == Code::success && cpu.eenter(0, 1) == Code::success);
  auto with = loading.events().back().with;
  with.emplace_back("isv_svn", std::uint64_t{build.svn});
  with.emplace_back("cpu_svn", std::uint64_t{build.cpu_svn});
  log.add("host", "EINIT", std::move(with), "success");
  return cpu;
}

std::string change(std::string_view name, std::uint64_t from, std::uint64_t to) {
  return from == to ? std::string{} : std::string{name} + " " + std::to_string(from) + " to " + std::to_string(to) + ", ";
}

/// "code, isv_svn 2 to 3", or "nothing".
std::string differences(const Build& from, const Build& to) {
  std::string out;
  if (from.code != to.code) out += "code, ";
  if (from.who != to.who) out += "signer, ";
  out += change("isv_prod_id", from.prod_id, to.prod_id) + change("isv_svn", from.svn, to.svn) + change("cpu_svn", from.cpu_svn, to.cpu_svn);
  if (out.empty()) return "nothing";
  out.resize(out.size() - 2);
  return out;
}

struct Sealed {
  Build by;
  std::string policy;
  Bytes blob;
};

Sealed seal(const Build& build, const std::string& policy, EventLog& log) {
  const auto cpu = started(build, log);
  sgx::LessonRandom random{"seal-versions"};
  const auto bit = policy == "MRSIGNER" ? lab_sgx::key_policy::kMrSigner : lab_sgx::key_policy::kMrEnclave;
  auto blob = lab_sgx::seal(cpu, 0, bit, as_bytes("the ledger"), {}, random).value();
  const auto request = lab_sgx::parse_sealed(blob)->request;
  const auto key = cpu.egetkey(0, lab_sgx::encode_key_request(request));
  log.add("enclave", "SEAL", {{"policy", policy}, {"isv_svn", std::uint64_t{build.svn}}, {"key", sgx::fingerprint(key.value())}}, "success");
  return {build, policy, std::move(blob)};
}

Result<void> replay(const Files& files, EventLog& log) {
  std::optional<Sealed> sealed;
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "SEAL" && op != "OPEN") return unknown_op(op, "SEAL, OPEN");
    const auto build = read_build(fields);
    const auto policy = op == "SEAL" ? one_of(fields, "policy", {"MRENCLAVE", "MRSIGNER"}) : std::string{};
    CLOISTER_CHECK(fields.finish());
    if (op == "SEAL") {
      sealed = seal(build, policy, log);
    } else if (!sealed) {
      log.add("enclave", "UNSEAL", {}, "nothing was sealed");
    } else {
      const auto cpu = started(build, log);
      sgx::unseal(cpu, 0, log, {{"policy", sealed->policy}, {"changed", differences(sealed->by, build)}}, sealed->blob, {});
    }
    return {};
  });
}

bool opened_with(const EventLog& log, std::string_view policy, std::string_view outcome, std::string_view changed) {
  return any(log, [&](const Event& event) {
    return event.op == "UNSEAL" && event.detail("policy") == policy && event.outcome.starts_with(outcome) &&
           event.detail("changed").starts_with(changed);
  });
}

/// Only the number of that name changed, and in that direction.
bool only(const EventLog& log, std::string_view outcome, std::string_view name, bool up) {
  return any(log, [&](const Event& event) {
    const auto changed = event.detail("changed");
    const auto words = std::string{name} + " ";
    if (event.op != "UNSEAL" || !event.outcome.starts_with(outcome) || !changed.starts_with(words)) return false;
    if (changed.find(',') != std::string::npos) return false;
    const auto to = changed.find(" to ");
    return (std::stoul(changed.substr(words.size())) < std::stoul(changed.substr(to + 4))) == up;
  });
}

constexpr Goal kGoals[] = {
    {"An update (other code, higher ISVSVN) opens what its predecessor sealed", 2,
     [](const EventLog& log) {
       return any(log, [](const Event& event) {
         const auto changed = event.detail("changed");
         return event.op == "UNSEAL" && event.outcome.starts_with("opened") && changed.starts_with("code, isv_svn ");
       });
     },
     "seal under MRSIGNER; then OPEN with another code and a higher isv_svn, all else equal"},
    {"The predecessor does not open what the update sealed", 2,
     [](const EventLog& log) { return only(log, "permission_denied: EGETKEY: SGX_INVALID_ISVSVN", "isv_svn", false); },
     "SEAL with the higher isv_svn, OPEN with the lower, and change nothing else"},
    {"Under MRENCLAVE other code gets another key", 2,
     [](const EventLog& log) {
       return any(log, [](const Event& event) {
         return event.op == "UNSEAL" && event.detail("policy") == "MRENCLAVE" && event.detail("changed") == "code" &&
                event.outcome.starts_with("decryption_failed");
       });
     },
     "SEAL with the policy MRENCLAVE, OPEN with another code and everything else equal"},
    {"Under MRSIGNER the same code of another signer gets another key", 2,
     [](const EventLog& log) {
       return opened_with(log, "MRSIGNER", "decryption_failed", "signer") &&
              any(log, [](const Event& event) { return event.op == "UNSEAL" && event.detail("changed") == "signer"; });
     },
     "SEAL with the policy MRSIGNER as vendor, OPEN as mallory, with the same code and numbers"},
    {"Old microcode does not get the keys of newer microcode", 2,
     [](const EventLog& log) { return only(log, "permission_denied: EGETKEY: SGX_INVALID_CPUSVN", "cpu_svn", false); },
     "SEAL on a machine with a higher cpu_svn, OPEN on one with a lower, and change nothing else"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 1, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::seal_versions
