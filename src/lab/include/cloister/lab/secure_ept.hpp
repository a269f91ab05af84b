#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "cloister/lab/tdx_memory.hpp"

namespace cloister::lab::tdx {

/// States of an entry (Base Architecture Specification 348549, "Secure EPT entry state"; those of migration are left
/// out). Tables: `table`, `table_blocked`; pages: the others.
enum class SeptState { free, table, table_blocked, mapped, blocked, pending, pending_blocked };
[[nodiscard]] constexpr bool is_table(SeptState state) noexcept {
  return state == SeptState::table || state == SeptState::table_blocked;
}
[[nodiscard]] constexpr bool is_blocked(SeptState state) noexcept {
  return state == SeptState::table_blocked || state == SeptState::blocked || state == SeptState::pending_blocked;
}

struct SeptEntry {
  SeptState state = SeptState::free;
  Hpa page;                        // of the table or of the private page; of a free entry meaningless
  std::uint64_t blocked_in = 0;    // the TD's epoch when it was blocked (PAMT.BEPOCH)
  friend bool operator==(const SeptEntry&, const SeptEntry&) = default;
};

/// What the guest meets at an address.
enum class Access {
  granted,
  virtualization_exception,  // #VE: a page that the guest has not accepted yet
  ept_violation,             // a TD exit: the host has to do something
};

/// The private half of a TD's guest physical memory: four levels of entries over 48 bits, each state change a method that
/// is refused in every state but those that the architecture names. Who may call it when, and who owns the pages, is the
/// module's to check. A value; one thread at a time.
class SecureEpt {
 public:
  static constexpr unsigned kTopLevel = 3;
  static constexpr std::uint64_t kGpaLimit = std::uint64_t{1} << 47;  // the bit above says that memory is shared

  /// An address that a leaf takes with a level: aligned, private, the level from `lowest` to `highest`.
  [[nodiscard]] static bool valid(std::uint64_t gpa, unsigned level, unsigned lowest, unsigned highest) noexcept;

  /// What all of these return where a table above is missing or blocked: `ept_walk_failed`, and in a state that is not
  /// theirs: `ept_entry_state_incorrect`; both with RCX.
  [[nodiscard]] Status add_table(std::uint64_t gpa, unsigned level, Hpa page);   // free -> table
  [[nodiscard]] Status add_page(std::uint64_t gpa, Hpa page);                    // free -> mapped
  [[nodiscard]] Status augment(std::uint64_t gpa, unsigned level, Hpa page);     // free -> pending
  /// Also `gpa_range_already_blocked`, a success that changes nothing.
  [[nodiscard]] Status block(std::uint64_t gpa, unsigned level, std::uint64_t epoch);  // … -> blocked
  [[nodiscard]] Status unblock(std::uint64_t gpa, unsigned level);                     // blocked -> …
  /// mapped, pending, blocked -> free; whether it must have been blocked first is the caller's to check.
  [[nodiscard]] Status remove_page(std::uint64_t gpa, unsigned level);
  /// table -> free. `ept_page_not_free` while an entry of it is in use.
  [[nodiscard]] Status remove_table(std::uint64_t gpa, unsigned level);

  /// A page of 2 MiB becomes a table of 512 pages of 4 KiB in its state, none of them blocked.
  [[nodiscard]] Status demote(std::uint64_t gpa, Hpa table);
  /// The reverse: the 512 pages are all mapped or all pending, and lie behind each other from an address that is aligned to
  /// 2 MiB, else `ept_invalid_promote_conditions`. The table is no longer used.
  [[nodiscard]] Status promote(std::uint64_t gpa);

  /// TDG.MEM.PAGE.ACCEPT: pending -> mapped. `page_already_accepted`, `page_size_mismatch`, or `ept_violation`.
  [[nodiscard]] Status accept(std::uint64_t gpa, unsigned level);
  /// What the guest meets. `no_ve`: the TD's SEPT_VE_DISABLE, which turns #VE for pending pages into TD exits.
  [[nodiscard]] Access access(std::uint64_t gpa, bool no_ve) const;

  /// `ept_walk_failed` unless every table above the entry is there and not blocked.
  [[nodiscard]] Status walk(std::uint64_t gpa, unsigned level) const;
  /// What `add_table`, `add_page` and `augment` ask first: the tables are there, and the entry is free.
  [[nodiscard]] Status check_free(std::uint64_t gpa, unsigned level) const;
  /// The entry of this level that covers the address.
  [[nodiscard]] SeptEntry entry(std::uint64_t gpa, unsigned level) const;
  /// Entries in use by level and first address, for who shows or checks them.
  using Entries = std::map<std::pair<unsigned, std::uint64_t>, SeptEntry>;
  [[nodiscard]] const Entries& all() const noexcept { return entries_; }

 private:
  [[nodiscard]] Status put(std::uint64_t gpa, unsigned level, SeptState state, Hpa page);
  [[nodiscard]] SeptEntry* find(std::uint64_t gpa, unsigned level);
  /// The entry where the guest's walk ends, and its level.
  [[nodiscard]] std::pair<SeptEntry, unsigned> leaf(std::uint64_t gpa, unsigned lowest) const;

  Entries entries_;
};

}  // namespace cloister::lab::tdx
