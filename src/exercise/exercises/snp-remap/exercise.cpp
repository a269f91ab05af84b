#include <algorithm>
#include <array>
#include <map>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/lab_snp/rmp.hpp"
#include "hex_text.hpp"

/// A hypervisor that owns the nested page tables, and not the reverse map.
namespace cloister::exercise::snp_remap {
namespace {

namespace json = codec::json;
using lab_snp::Fault;
using lab_snp::GuestView;
using lab_snp::PageSize;
using lab_snp::Rmp;
using lab_snp::RmpStatus;

constexpr std::size_t kPages = 1024;
constexpr std::uint64_t kMaxAddress = kPages * lab_snp::kSmallPage - 1;

struct Page {
  std::uint32_t guest;
  std::uint64_t gpa;
  std::uint64_t spa;
  std::string_view text;
};
constexpr Page kBegin[] = {
    {1, 0x1000, 0x101000, "limit=100"},
    {1, 0x2000, 0x102000, "limit=9999"},
    {2, 0x1000, 0x201000, "the other guest's"},
};

constexpr std::pair<Fault, std::string_view> kFaults[] = {{Fault::none, "success"},
                                                          {Fault::pf_rmp, "#PF(RMP)"},
                                                          {Fault::npf_rmp, "#NPF(RMP)"},
                                                          {Fault::npf_size, "#NPF(SIZEM)"},
                                                          {Fault::npf_vmpl, "#NPF(VMPL)"},
                                                          {Fault::vc_not_validated, "#VC 0x404 (not validated)"}};
constexpr std::pair<RmpStatus, std::string_view> kStatuses[] = {{RmpStatus::success, "success"},
                                                                {RmpStatus::fail_input, "FAIL_INPUT (1)"},
                                                                {RmpStatus::fail_permission, "FAIL_PERMISSION (2)"},
                                                                {RmpStatus::fail_in_use, "FAIL_INUSE (3)"},
                                                                {RmpStatus::fail_overlap, "FAIL_OVERLAP (4)"},
                                                                {RmpStatus::fail_size_mismatch, "FAIL_SIZEMISMATCH (6)"}};

std::string to_text(Fault fault) {
  const auto* found = std::ranges::find(kFaults, fault, &std::pair<Fault, std::string_view>::first);
  return std::string{found != std::end(kFaults) ? found->second : "stopped"};
}
std::string to_text(RmpStatus status) {
  const auto* found = std::ranges::find(kStatuses, status, &std::pair<RmpStatus, std::string_view>::first);
  return std::string{found != std::end(kStatuses) ? found->second : "refused"};
}

class Machine {
 public:
  explicit Machine(EventLog& log) : log_{log} {
    for (const auto& page : kBegin) {
      assign(page.spa, true, page.gpa, page.guest);
      tables_[{page.guest, page.gpa}] = page.spa;
      pvalidate(page.guest, page.gpa);
      memory_[page.spa] = page.text;
    }
  }

  Result<void> play(const std::string& op, json::Fields& fields) {
    if (op == "MAP") {
      const auto guest = read_guest(fields);
      const auto gpa = number(fields, "gpa", kMaxAddress);
      const auto spa = number(fields, "spa", kMaxAddress);
      CLOISTER_CHECK(fields.finish());
      tables_[{guest, gpa}] = spa;
      log_.add("host", op, {{"guest", std::uint64_t{guest}}, {"gpa", hex_number(gpa)}, {"spa", hex_number(spa)}}, "success");
    } else if (op == "RMPUPDATE") {
      const auto spa = number(fields, "spa", kMaxAddress);
      const bool assigned = fields.boolean("assigned");
      const auto gpa = number(fields, "gpa", kMaxAddress);
      const auto guest = static_cast<std::uint32_t>(number(fields, "asid", 1023));
      CLOISTER_CHECK(fields.finish());
      assign(spa, assigned, gpa, guest);
    } else if (op == "HOST_WRITE") {
      const auto spa = number(fields, "spa", kMaxAddress);
      CLOISTER_CHECK(fields.finish());
      const auto fault = rmp_.host_write(spa);
      log_.add("host", op, with_row({{"spa", hex_number(spa)}}, spa), to_text(fault));
      if (fault == Fault::none) memory_[spa - spa % lab_snp::kSmallPage] = "the host's";
    } else if (op == "READ" || op == "PVALIDATE") {
      const auto guest = read_guest(fields);
      const auto gpa = number(fields, "gpa", kMaxAddress);
      CLOISTER_CHECK(fields.finish());
      if (op == "READ") {
        read(guest, gpa);
      } else {
        pvalidate(guest, gpa);
      }
    } else {
      return unknown_op(op, "MAP, RMPUPDATE, HOST_WRITE, READ, PVALIDATE");
    }
    return {};
  }

 private:
  static std::uint32_t read_guest(json::Fields& fields) { return static_cast<std::uint32_t>(number(fields, "guest", 2)); }

  /// The entry that the processor looks at.
  [[nodiscard]] json::Object with_row(json::Object with, std::uint64_t spa) const {
    if (const auto entry = rmp_.entry(spa)) {
      with.emplace_back("rmp", to_string(lab_snp::state_of(*entry)));
      with.emplace_back("rmp_asid", std::uint64_t{entry->asid});
      with.emplace_back("rmp_gpa", hex_number(entry->gpa));
    }
    return with;
  }

  void assign(std::uint64_t spa, bool assigned, std::uint64_t gpa, std::uint32_t asid) {
    const auto status = rmp_.rmpupdate(spa, {.assigned = assigned, .gpa = gpa, .asid = asid});
    log_.add("host", "RMPUPDATE", with_row({{"spa", hex_number(spa)}, {"assigned", assigned}}, spa), to_text(status));
  }

  /// Where the guest's address leads by the host's tables; the guest's own page offset is dropped.
  [[nodiscard]] std::optional<GuestView> view(std::uint32_t guest, std::uint64_t gpa) const {
    const auto found = tables_.find({guest, gpa});
    if (found == tables_.end()) return std::nullopt;
    return GuestView{.asid = guest, .vmpl = 0, .gpa = gpa, .spa = found->second};
  }

  void read(std::uint32_t guest, std::uint64_t gpa) {
    json::Object with{{"guest", std::uint64_t{guest}}, {"gpa", hex_number(gpa)}};
    const auto seen = view(guest, gpa);
    if (!seen) return log_.add("guest", "READ", std::move(with), "#NPF (not mapped)");
    with.emplace_back("spa", hex_number(seen->spa));
    const auto fault = rmp_.guest_access(*seen, lab_snp::vmpl_permission::kRead);
    const auto there = memory_.find(seen->spa);
    const auto text = there == memory_.end() ? std::string{} : there->second;
    log_.add("guest", "READ", with_row(std::move(with), seen->spa), fault == Fault::none ? "read: " + text : to_text(fault));
  }

  void pvalidate(std::uint32_t guest, std::uint64_t gpa) {
    json::Object with{{"guest", std::uint64_t{guest}}, {"gpa", hex_number(gpa)}};
    const auto seen = view(guest, gpa);
    if (!seen) return log_.add("guest", "PVALIDATE", std::move(with), "#NPF (not mapped)");
    with.emplace_back("spa", hex_number(seen->spa));
    const auto result = rmp_.pvalidate(*seen, PageSize::small, true);
    auto outcome = result.fault != Fault::none ? to_text(result.fault) : to_text(result.status);
    if (result.unchanged) outcome = "CF=1 (it was validated already)";
    log_.add("guest", "PVALIDATE", with_row(std::move(with), seen->spa), std::move(outcome));
  }

  EventLog& log_;
  Rmp rmp_{kPages};
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> tables_;  // nested page tables, the host's
  std::map<std::uint64_t, std::string> memory_;
};

Result<void> replay(const Files& files, EventLog& log) {
  Machine machine{log};
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) { return machine.play(op, fields); });
}

bool read_stopped(const EventLog& log, std::string_view fault, const std::function<bool(const Event&)>& fits) {
  return any(log, [&](const Event& event) { return event.op == "READ" && event.step > 0 && event.outcome.starts_with(fault) && fits(event); });
}

constexpr Goal kGoals[] = {
    {"Two pages of one guest do not change places", 3,
     [](const EventLog& log) {
       return read_stopped(log, "#NPF(RMP)", [](const Event& e) {
         return e.detail("rmp_asid") == e.detail("guest") && e.detail("rmp_gpa") != e.detail("gpa") && e.detail("rmp") == "guest_valid";
       });
     },
     "MAP guest 1's GPA 0x1000 to the SPA of its GPA 0x2000, and let it READ"},
    {"A guest does not reach another guest's page", 2,
     [](const EventLog& log) {
       return read_stopped(log, "#NPF(RMP)", [](const Event& e) {
         return e.detail("rmp_asid") != e.detail("guest") && e.detail("rmp_asid") != "0" && e.detail("rmp_gpa") == e.detail("gpa");
       });
     },
     "MAP guest 1's GPA 0x1000 to the page that guest 2 has at the same GPA, and READ"},
    {"The host does not write a guest's page", 2,
     [](const EventLog& log) { return happened(log, "HOST_WRITE", "#PF(RMP)", {{"rmp", "guest_valid"}}); },
     "HOST_WRITE to a page that the RMP assigns to a guest"},
    {"Correcting the RMP to fit the tables clears Validated, and the guest notices", 3,
     [](const EventLog& log) {
       return read_stopped(log, "#VC 0x404", [](const Event& e) { return e.detail("rmp_gpa") == e.detail("gpa") && e.detail("rmp_asid") == e.detail("guest"); });
     },
     "after MAP, RMPUPDATE the target page so that its row names the GPA that you want, and READ"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SEV-SNP", .level = 1, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::snp_remap
