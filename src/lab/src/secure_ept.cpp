#include "cloister/lab/secure_ept.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr Operand kAddress = Operand::rcx;
constexpr Status kWalkFailed{Code::ept_walk_failed, kAddress};
constexpr Status kWrongState{Code::ept_entry_state_incorrect, kAddress};

std::pair<unsigned, std::uint64_t> key(std::uint64_t gpa, unsigned level) {
  return {level, gpa - gpa % span_of(level)};
}

}  // namespace

bool SecureEpt::valid(std::uint64_t gpa, unsigned level, unsigned lowest, unsigned highest) noexcept {
  return level >= lowest && level <= highest && gpa < kGpaLimit && gpa % span_of(level) == 0;
}

SeptEntry SecureEpt::entry(std::uint64_t gpa, unsigned level) const {
  const auto found = entries_.find(key(gpa, level));
  return found == entries_.end() ? SeptEntry{} : found->second;
}

SeptEntry* SecureEpt::find(std::uint64_t gpa, unsigned level) {
  const auto found = entries_.find(key(gpa, level));
  return found == entries_.end() ? nullptr : &found->second;
}

Status SecureEpt::walk(std::uint64_t gpa, unsigned level) const {
  for (unsigned above = kTopLevel; above > level; --above) {
    if (entry(gpa, above).state != SeptState::table) return kWalkFailed;
  }
  return {};
}

Status SecureEpt::check_free(std::uint64_t gpa, unsigned level) const {
  if (const auto walked = walk(gpa, level); !walked.ok()) return walked;
  return entry(gpa, level).state == SeptState::free ? Status{} : kWrongState;
}

Status SecureEpt::put(std::uint64_t gpa, unsigned level, SeptState state, Hpa page) {
  if (const auto free = check_free(gpa, level); !free.ok()) return free;
  entries_.emplace(key(gpa, level), SeptEntry{.state = state, .page = page});
  return {};
}

Status SecureEpt::add_table(std::uint64_t gpa, unsigned level, Hpa page) {
  return put(gpa, level, SeptState::table, page);
}
Status SecureEpt::add_page(std::uint64_t gpa, Hpa page) { return put(gpa, 0, SeptState::mapped, page); }
Status SecureEpt::augment(std::uint64_t gpa, unsigned level, Hpa page) {
  return put(gpa, level, SeptState::pending, page);
}

Status SecureEpt::block(std::uint64_t gpa, unsigned level, std::uint64_t epoch) {
  if (const auto walked = walk(gpa, level); !walked.ok()) return walked;
  auto* const it = find(gpa, level);
  if (it == nullptr) return kWrongState;
  switch (it->state) {
    case SeptState::table: it->state = SeptState::table_blocked; break;
    case SeptState::mapped: it->state = SeptState::blocked; break;
    case SeptState::pending: it->state = SeptState::pending_blocked; break;
    case SeptState::table_blocked:
    case SeptState::blocked:
    case SeptState::pending_blocked: return {Code::gpa_range_already_blocked, kAddress};
    case SeptState::free: return kWrongState;
  }
  it->blocked_in = epoch;
  return {};
}

Status SecureEpt::unblock(std::uint64_t gpa, unsigned level) {
  if (const auto walked = walk(gpa, level); !walked.ok()) return walked;
  auto* const it = find(gpa, level);
  if (it == nullptr) return kWrongState;
  switch (it->state) {
    case SeptState::table_blocked: it->state = SeptState::table; return {};
    case SeptState::blocked: it->state = SeptState::mapped; return {};
    case SeptState::pending_blocked: it->state = SeptState::pending; return {};
    case SeptState::table:
    case SeptState::mapped:
    case SeptState::pending:
    case SeptState::free: return kWrongState;
  }
  return kWrongState;
}

Status SecureEpt::remove_page(std::uint64_t gpa, unsigned level) {
  if (const auto walked = walk(gpa, level); !walked.ok()) return walked;
  const auto* const it = find(gpa, level);
  if (it == nullptr || is_table(it->state)) return kWrongState;
  entries_.erase(key(gpa, level));
  return {};
}

Status SecureEpt::remove_table(std::uint64_t gpa, unsigned level) {
  if (const auto walked = walk(gpa, level); !walked.ok()) return walked;
  const auto* const it = find(gpa, level);
  if (it == nullptr || !is_table(it->state)) return kWrongState;
  const auto first = gpa - gpa % span_of(level);
  const auto inside = entries_.lower_bound({level - 1, first});
  if (inside != entries_.end() && inside->first < std::pair{level - 1, first + span_of(level)}) {
    return {Code::ept_page_not_free, kAddress};
  }
  entries_.erase(key(gpa, level));
  return {};
}

Status SecureEpt::demote(std::uint64_t gpa, Hpa table) {
  if (const auto walked = walk(gpa, 1); !walked.ok()) return walked;
  auto* const it = find(gpa, 1);
  if (it == nullptr || is_table(it->state)) return kWrongState;
  const bool pending = it->state == SeptState::pending || it->state == SeptState::pending_blocked;
  const SeptEntry small{.state = pending ? SeptState::pending : SeptState::mapped, .page = it->page};
  for (std::uint64_t offset = 0; offset < span_of(1); offset += kFrameSize) {
    auto entry = small;
    entry.page.value += offset;
    entries_.emplace(key(gpa + offset, 0), entry);
  }
  *it = {.state = SeptState::table, .page = table};
  return {};
}

Status SecureEpt::promote(std::uint64_t gpa) {
  if (const auto walked = walk(gpa, 1); !walked.ok()) return walked;
  auto* const it = find(gpa, 1);
  if (it == nullptr || !is_table(it->state)) return kWrongState;
  const auto first = entry(gpa, 0);
  const bool whole = first.state == SeptState::mapped || first.state == SeptState::pending;
  if (!whole || first.page.value % span_of(1) != 0) return {Code::ept_invalid_promote_conditions, kAddress};
  for (std::uint64_t offset = kFrameSize; offset < span_of(1); offset += kFrameSize) {
    const auto next = entry(gpa + offset, 0);
    if (next.state != first.state || next.page.value != first.page.value + offset) {
      return {Code::ept_invalid_promote_conditions, kAddress};
    }
  }
  *it = {.state = first.state, .page = first.page};
  entries_.erase(entries_.find(key(gpa, 0)), entries_.lower_bound({0, gpa + span_of(1)}));
  return {};
}

std::pair<SeptEntry, unsigned> SecureEpt::leaf(std::uint64_t gpa, unsigned lowest) const {
  for (unsigned level = kTopLevel; level > lowest; --level) {
    const auto it = entry(gpa, level);
    if (it.state != SeptState::table) return {it, level};
  }
  return {entry(gpa, lowest), lowest};
}

Status SecureEpt::accept(std::uint64_t gpa, unsigned level) {
  const auto [it, at] = leaf(gpa, level);
  if (it.state == SeptState::mapped) return {Code::page_already_accepted, kAddress};
  if (at > level) return Code::ept_violation;
  if (is_table(it.state)) return {Code::page_size_mismatch, kAddress};
  if (it.state != SeptState::pending) return Code::ept_violation;
  find(gpa, level)->state = SeptState::mapped;
  return {};
}

Access SecureEpt::access(std::uint64_t gpa, bool no_ve) const {
  if (gpa >= kGpaLimit) return Access::ept_violation;
  const auto state = leaf(gpa, 0).first.state;
  if (state == SeptState::mapped) return Access::granted;
  if (state == SeptState::pending && !no_ve) return Access::virtualization_exception;
  return Access::ept_violation;
}

}  // namespace cloister::lab::tdx
