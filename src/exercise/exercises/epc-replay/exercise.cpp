#include <map>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "hex_text.hpp"
#include "sgx_lesson.hpp"

/// A page of an enclave in the host's hands, between EWB and ELDU.
namespace cloister::exercise::epc_replay {
namespace {

namespace json = codec::json;
using lab_sgx::Code;
using lab_sgx::EpcIndex;

constexpr EpcIndex kSecs = 0;
constexpr EpcIndex kTcs = 1;
constexpr EpcIndex kHeap = 4;
constexpr EpcIndex kVa = 8;
constexpr EpcIndex kSpare = 9;
constexpr std::uint64_t kHeapAddress = 0x12000;
constexpr std::size_t kMaxText = 64;

/// An evicted page under the name that the host gave it.
struct Kept {
  lab_sgx::EvictedPage page;
  unsigned version = 0;  // the how-manieth EWB made it
  bool altered = false;
};

class Host {
 public:
  explicit Host(EventLog& log) : log_{log}, cpu_{sgx::root(), {.cpu_svn = sgx::kCpuSvn, .pages = 12}} {
    auto plan = sgx::plan_of("bank");
    plan.pages.push_back({.name = "heap", .offset = 0x2000, .secinfo = measure::SecInfo::reg(true, true, false)});
    CLOISTER_ASSERT(sgx::load(cpu_, log, plan, kSecs, sgx::sigstruct_for(plan, {})) == Code::success);
    CLOISTER_ASSERT(did("host", "EPA", {{"va", "8"}}, cpu_.epa(kVa)));
  }

  Result<void> play(const std::string& op, json::Fields& fields) {
    if (op == "EENTER" || op == "EEXIT" || op == "EBLOCK" || op == "ETRACK" || op == "READ") {
      CLOISTER_CHECK(fields.finish());
      plain(op);
    } else if (op == "WRITE") {
      const auto text = fields.string("text");
      if (!fields.failed() && text.size() > kMaxText) fields.fail(Errc::limit_exceeded, "text", "at most 64 bytes expected");
      CLOISTER_CHECK(fields.finish());
      did("enclave", op, {{"page", "heap"}, {"text", text}}, cpu_.write(0, kHeapAddress, to_bytes(text + '\0')));
    } else if (op == "EWB") {
      const auto name = fields.string("as");
      const auto slot = static_cast<unsigned>(number(fields, "slot", lab_sgx::Cpu::kVaSlots - 1));
      CLOISTER_CHECK(fields.finish());
      evict(name, slot);
    } else if (op == "ALTER") {
      const auto name = fields.string("page");
      const auto at = number(fields, "at", 0xFFFF);
      const auto mask = number(fields, "xor", 0xFF);
      CLOISTER_CHECK(fields.finish());
      alter(name, at, static_cast<std::uint8_t>(mask));
    } else if (op == "ELDU") {
      const auto name = fields.string("from");
      const auto slot = static_cast<unsigned>(number(fields, "slot", lab_sgx::Cpu::kVaSlots - 1));
      CLOISTER_CHECK(fields.finish());
      reload(name, slot);
    } else {
      return unknown_op(op, "EENTER, EEXIT, WRITE, READ, EBLOCK, ETRACK, EWB, ALTER, ELDU");
    }
    return {};
  }

 private:
  bool did(std::string_view by, std::string_view op, json::Object with, Code code) {
    log_.add(by, op, std::move(with), sgx::outcome(code));
    return code == Code::success;
  }
  /// Where the heap is now.
  [[nodiscard]] EpcIndex heap() const { return cpu_.epcm(kSpare).valid ? kSpare : kHeap; }

  void plain(const std::string& op) {
    if (op == "EENTER") did("host", op, {}, cpu_.eenter(0, kTcs));
    if (op == "EEXIT") did("enclave", op, {}, cpu_.eexit(0));
    if (op == "EBLOCK") did("host", op, {{"page", "heap"}}, cpu_.eblock(heap()));
    if (op == "ETRACK") did("host", op, {}, cpu_.etrack(kSecs));
    if (op != "READ") return;
    const auto bytes = cpu_.read(0, kHeapAddress, kMaxText);
    const auto text = bytes.ok() ? std::string{as_text(bytes.value())} : std::string{};
    log_.add("enclave", op, {{"page", "heap"}}, bytes.ok() ? text.substr(0, text.find('\0')) : sgx::outcome(bytes.code()));
  }

  void evict(const std::string& name, unsigned slot) {
    auto out = cpu_.ewb(heap(), kVa, slot);
    json::Object with{{"page", "heap"}, {"as", name}, {"slot", std::uint64_t{slot}}};
    if (out.ok()) {
      slots_[slot] = ++versions_;
      with.emplace_back("version", std::uint64_t{versions_});
      with.emplace_back("bytes", sgx::brief(out.value().sealed) + "…");
      kept_[name] = {.page = std::move(out).value(), .version = versions_};
    }
    did("host", "EWB", std::move(with), out.code());
  }

  void alter(const std::string& name, std::uint64_t at, std::uint8_t mask) {
    const auto found = kept_.find(name);
    const bool there = found != kept_.end() && at < found->second.page.sealed.size();
    if (there) {
      auto& byte = found->second.page.sealed[at];
      byte = static_cast<std::uint8_t>(byte ^ mask);
      found->second.altered = found->second.altered || mask != 0;
    }
    log_.add("host", "ALTER", {{"page", name}, {"at", hex_number(at)}, {"xor", hex_number(mask)}}, there ? "success" : "no such byte");
  }

  void reload(const std::string& name, unsigned slot) {
    const auto found = kept_.find(name);
    if (found == kept_.end()) return log_.add("host", "ELDU", {{"from", name}}, "no such page");
    const auto& kept = found->second;
    const auto held = slots_.contains(slot) ? "version " + std::to_string(slots_.at(slot)) : std::string{"nothing"};
    const auto at = cpu_.epcm(kHeap).valid ? kSpare : kHeap;
    const auto code = cpu_.eldu(at, kept.page, kSecs, kVa, slot);
    if (code == Code::success) slots_.erase(slot);
    did("host", "ELDU", {{"from", name}, {"version", std::uint64_t{kept.version}}, {"altered", kept.altered}, {"slot", std::uint64_t{slot}},
                         {"slot_holds", held}}, code);
  }

  EventLog& log_;
  lab_sgx::Cpu cpu_;
  std::map<std::string, Kept> kept_;
  std::map<unsigned, unsigned> slots_;  // of the VA page: which version each holds
  unsigned versions_ = 0;
};

Result<void> replay(const Files& files, EventLog& log) {
  Host host{log};
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) { return host.play(op, fields); });
}

bool refused(const EventLog& log, const std::function<bool(const Event&)>& fits) {
  return any(log, [&](const Event& event) { return event.op == "ELDU" && event.outcome.starts_with("SGX_MAC_COMPARE_FAIL") && fits(event); });
}

constexpr Goal kGoals[] = {
    {"The heap goes out and comes back, and the enclave reads what it wrote", 2,
     [](const EventLog& log) {
       const auto out = first(log, 0, "EWB", "success");
       const auto back = first(log, out, "ELDU", "success");
       return first(log, back, "READ", "balance=") < log.events().size();
     },
     "EBLOCK, ETRACK, EEXIT (so that no processor holds the old address), EWB, ELDU, EENTER, READ"},
    {"The same page does not come back a second time", 2,
     [](const EventLog& log) {
       return refused(log, [](const Event& e) { return e.detail("slot_holds") == "nothing" && e.detail("altered") == "false"; });
     },
     "ELDU the same page again from the same slot: what is in the slot now?"},
    {"Monday's page does not pass for Tuesday's", 3,
     [](const EventLog& log) {
       return refused(log, [](const Event& e) {
         const auto held = e.detail("slot_holds");
         return held.starts_with("version") && held != "version " + e.detail("version") && e.detail("altered") == "false";
       });
     },
     "WRITE another balance, evict again, and ELDU the older page from the slot of the newer one"},
    {"A changed ciphertext does not load", 3,
     [](const EventLog& log) {
       return refused(log, [](const Event& e) {
         return e.detail("altered") == "true" && e.detail("slot_holds") == "version " + e.detail("version");
       });
     },
     "ALTER one byte of an evicted page, and ELDU it from its own slot"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 2, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::epc_replay
