#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "sgx_lesson.hpp"

/// An enclave that believes a page which nobody measured.
namespace cloister::exercise::unmeasured_page {
namespace {

namespace json = codec::json;
using lab_sgx::Code;
using measure::SecInfo;

constexpr std::uint64_t kConfigOffset = 0x2000;
constexpr std::string_view kLocked = "export=no";
constexpr std::string_view kOpen = "export=yes";
constexpr std::size_t kMaxConfig = 256;

sgx::Plan plan_with(std::string_view config, bool measured, const SecInfo& rights) {
  auto plan = sgx::plan_of("key vault");
  plan.pages.push_back({.name = "config", .offset = kConfigOffset, .secinfo = rights, .contents = sgx::page_of(as_bytes(config)),
                        .measured = measured});
  return plan;
}

Result<std::string> read_config(const Files& files) {
  CLOISTER_TRY(bytes, hex_file(files, "config.hex", kMaxConfig));
  return std::string{as_text(bytes)};
}

/// What the vault's code does: it reads the page, and exports its key when the page says so.
void run(const lab_sgx::Cpu& cpu, EventLog& log) {
  const auto page = cpu.read(0, 0x10000 + kConfigOffset, kMaxConfig).value();
  const bool open = as_text(page).starts_with(std::string{kOpen} + '\0');
  log.add("enclave", "RUN", {{"reads", "config"}, {"bytes", codec::to_hex(ByteView{page}.first(11))}}, open ? "exported the key" : "kept the key");
}

Result<void> replay(const Files& files, EventLog& log) {
  CLOISTER_TRY(config, read_config(files));
  std::optional<lab_sgx::Cpu> cpu;
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "LOAD" && op != "RUN") return unknown_op(op, "LOAD, RUN");
    const bool load = op == "LOAD";
    const auto layout = load ? one_of(fields, "layout", {"shipped", "measured"}) : std::string{};
    const auto rights = load ? one_of(fields, "config_rights", {"RW", "RWX"}) : std::string{};
    CLOISTER_CHECK(fields.finish());
    if (load) {
      // The vendor signed its own configuration, under the rights that it meant, in both layouts.
      const bool measured = layout == "measured";
      const auto signed_for = plan_with(kLocked, measured, SecInfo::reg(true, true, false));
      const auto given = plan_with(config, measured, SecInfo::reg(true, true, rights == "RWX"));
      cpu.emplace(sgx::root(), lab_sgx::Cpu::Options{.cpu_svn = sgx::kCpuSvn, .pages = 8});
      log.add("host", "LAYOUT", {{"layout", layout}, {"config_changed", !config.starts_with(kLocked)}}, "chosen");
      if (sgx::load(*cpu, log, given, 0, sgx::sigstruct_for(signed_for, {})) != Code::success || cpu->eenter(0, 1) != Code::success) {
        cpu.reset();
      }
    } else if (!cpu) {
      log.add("host", op, {}, "no enclave runs");
    } else {
      run(*cpu, log);
    }
    return {};
  });
}

/// Whether a LOAD of that layout ended so; its details.
bool loaded(const EventLog& log, std::string_view layout, std::string_view outcome, std::string_view secinfo) {
  const auto& events = log.events();
  for (auto at = first(log, 0, "LAYOUT", "chosen"); at < events.size(); at = first(log, at + 1, "LAYOUT", "chosen")) {
    if (events[at].detail("layout") != layout) continue;
    const auto step = events[at].step;
    bool right = false;
    for (auto i = at; i < events.size() && events[i].step == step; ++i) {
      right = right || (events[i].op == "EADD" && events[i].detail("page") == "config" && events[i].detail("secinfo") == secinfo);
      if (events[i].op == "EINIT" && right && events[i].outcome.starts_with(outcome)) return true;
    }
  }
  return false;
}

constexpr Goal kGoals[] = {
    {"The shipped enclave, with its true MRENCLAVE, obeys your configuration", 4,
     [](const EventLog& log) { return happened(log, "RUN", "exported the key") && loaded(log, "shipped", "success", "REG RW-"); },
     "write export=yes (and a zero byte) into config.hex, LOAD the shipped layout with RW, and RUN"},
    {"Measured, the same page does not start", 4,
     [](const EventLog& log) {
       return happened(log, "LAYOUT", "chosen", {{"layout", "measured"}, {"config_changed", "true"}}) &&
              loaded(log, "measured", "SGX_INVALID_MEASUREMENT", "REG RW-");
     },
     "LOAD your config.hex with the layout in which EEXTEND covers the page"},
    {"Unmeasured contents, but measured rights", 2,
     [](const EventLog& log) { return loaded(log, "shipped", "SGX_INVALID_MEASUREMENT", "REG RWX"); },
     "LOAD the shipped layout with config_rights RWX: EADD's record has the page's offset and SECINFO"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 1, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::unmeasured_page
