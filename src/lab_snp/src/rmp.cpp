#include "cloister/lab_snp/rmp.hpp"

#include <algorithm>

#include "cloister/core/assert.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::size_t kSmallInLarge = kLargePage / kSmallPage;

constexpr bool aligned(std::uint64_t address, PageSize size) { return address % bytes_of(size) == 0; }
constexpr std::size_t index_of(std::uint64_t spa) { return static_cast<std::size_t>(spa / kSmallPage); }

PageState owned_by_firmware(const RmpEntry& entry) {
  if (!entry.immutable) return PageState::reclaim;
  if (entry.vmsa) return PageState::context;
  return entry.gpa != 0 ? PageState::metadata : PageState::firmware;
}

/// States that RMPUPDATE may make: all but those that only firmware does.
bool host_may_make(const Rmp::Update& update) {
  if (!update.assigned) return !update.immutable && update.asid == 0 && update.gpa == 0;
  if (update.asid == 0) return update.immutable && update.gpa == 0;
  return aligned(update.gpa, update.size);
}

}  // namespace

PageState state_of(const RmpEntry& entry) noexcept {
  if (!entry.assigned) return entry.immutable ? PageState::hv_fixed : PageState::hypervisor;
  if (entry.asid == 0) return owned_by_firmware(entry);
  if (entry.immutable) return entry.validated ? PageState::pre_swap : PageState::pre_guest;
  return entry.validated ? PageState::guest_valid : PageState::guest_invalid;
}

std::string_view to_string(PageState state) noexcept {
  switch (state) {
    case PageState::hypervisor: return "hypervisor";
    case PageState::hv_fixed: return "hv_fixed";
    case PageState::reclaim: return "reclaim";
    case PageState::firmware: return "firmware";
    case PageState::context: return "context";
    case PageState::metadata: return "metadata";
    case PageState::pre_guest: return "pre_guest";
    case PageState::pre_swap: return "pre_swap";
    case PageState::guest_invalid: return "guest_invalid";
    case PageState::guest_valid: return "guest_valid";
  }
  return "unknown";
}

std::size_t Rmp::covering(std::uint64_t spa) const {
  const auto own = index_of(spa);
  const auto base = own - own % kSmallInLarge;
  const auto& large = entries_[base];
  return large.assigned && large.size == PageSize::large ? base : own;
}

bool Rmp::inside(std::uint64_t spa, PageSize size) const {
  const auto total = std::uint64_t{entries_.size()} * kSmallPage;
  return aligned(spa, size) && spa < total && bytes_of(size) <= total - spa;
}

std::optional<RmpEntry> Rmp::entry(std::uint64_t spa) const {
  if (spa / kSmallPage >= entries_.size()) return std::nullopt;
  return entries_[covering(spa)];
}

/// A small page under a large one, or a large one over any small page that has an owner.
bool Rmp::overlaps(std::uint64_t spa, PageSize size) const {
  const auto& there = entries_[covering(spa)];
  const bool large_there = there.assigned && there.size == PageSize::large;
  if (size == PageSize::small) return large_there;
  if (large_there) return false;
  const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(index_of(spa));
  return std::any_of(first, first + kSmallInLarge, [](const RmpEntry& one) { return one.assigned || one.immutable; });
}

RmpStatus Rmp::rmpupdate(std::uint64_t spa, const Update& update) {
  if (!inside(spa, update.size) || !host_may_make(update)) return RmpStatus::fail_input;
  auto& entry = entries_[covering(spa)];
  if (entry.immutable) return RmpStatus::fail_permission;
  if (overlaps(spa, update.size)) return RmpStatus::fail_overlap;
  entry = {};
  if (!update.assigned) return RmpStatus::success;
  entry.assigned = true;
  entry.size = update.size;
  entry.immutable = update.immutable;
  entry.gpa = update.gpa;
  entry.asid = update.asid;
  entry.permissions[0] = update.asid == 0 ? std::uint8_t{0} : vmpl_permission::kAll;
  return RmpStatus::success;
}

RmpStatus Rmp::psmash(std::uint64_t spa) {
  if (!inside(spa, PageSize::large)) return RmpStatus::fail_input;
  const auto large = entries_[index_of(spa)];
  if (!large.assigned || large.size != PageSize::large) return RmpStatus::fail_input;
  if (large.immutable) return RmpStatus::fail_permission;
  for (std::size_t i = 0; i < kSmallInLarge; ++i) {
    auto& small = entries_[index_of(spa) + i];
    small = large;
    small.size = PageSize::small;
    small.gpa = large.gpa + i * kSmallPage;
  }
  return RmpStatus::success;
}

/// What stops a guest before its instruction or access looks at the entry's other bits.
Fault Rmp::check_owner(const GuestView& guest, PageSize size) const {
  if (!inside(guest.spa, PageSize::small)) return Fault::npf_rmp;
  const auto at = covering(guest.spa);
  const auto& entry = entries_[at];
  const auto offset = guest.spa - std::uint64_t{at} * kSmallPage;
  if (!entry.assigned || entry.asid == 0 || entry.asid != guest.asid || entry.immutable) return Fault::npf_rmp;
  if (entry.gpa + offset != guest.gpa) return Fault::npf_rmp;
  return entry.size == PageSize::large && size == PageSize::small ? Fault::npf_size : Fault::none;
}

RmpResult Rmp::pvalidate(const GuestView& guest, PageSize size, bool validate) {
  if (guest.vmpl != 0) return {.status = RmpStatus::fail_permission};
  if (!aligned(guest.gpa, size)) return {.status = RmpStatus::fail_input};
  if (const auto fault = check_owner(guest, size); fault != Fault::none) return {.fault = fault};
  auto& entry = entries_[covering(guest.spa)];
  if (entry.size != size) return {.status = RmpStatus::fail_size_mismatch};
  if (entry.validated == validate) return {.unchanged = true};
  entry.validated = validate;
  return {};
}

RmpResult Rmp::rmpadjust(const GuestView& guest, const Adjust& adjust) {
  if (guest.vmpl >= kVmpls || adjust.target >= kVmpls || (adjust.permissions & ~vmpl_permission::kAll) != 0 ||
      !aligned(guest.gpa, adjust.size)) {
    return {.status = RmpStatus::fail_input};
  }
  if (adjust.target <= guest.vmpl) return {.status = RmpStatus::fail_permission};
  if (const auto fault = check_owner(guest, adjust.size); fault != Fault::none) return {.fault = fault};
  auto& entry = entries_[covering(guest.spa)];
  if (!entry.validated) return {.fault = Fault::vc_not_validated};
  if (entry.size != adjust.size) return {.status = RmpStatus::fail_size_mismatch};
  if ((adjust.permissions & ~entry.permissions[guest.vmpl]) != 0) return {.status = RmpStatus::fail_permission};
  if (adjust.vmsa != entry.vmsa && guest.vmpl != 0) return {.status = RmpStatus::fail_permission};
  entry.permissions[adjust.target] = adjust.permissions;
  entry.vmsa = adjust.vmsa;
  return {};
}

Fault Rmp::host_write(std::uint64_t spa) const {
  const auto there = entry(spa);
  return there && !there->assigned && !there->immutable ? Fault::none : Fault::pf_rmp;
}

Fault Rmp::guest_access(const GuestView& guest, std::uint8_t permissions, PageSize size) const {
  if (guest.vmpl >= kVmpls) return Fault::npf_vmpl;
  if (const auto fault = check_owner(guest, size); fault != Fault::none && fault != Fault::npf_size) return fault;
  const auto& entry = entries_[covering(guest.spa)];
  if (entry.size != size) return Fault::npf_size;
  if (!entry.validated) return Fault::vc_not_validated;
  return (permissions & ~entry.permissions[guest.vmpl]) == 0 ? Fault::none : Fault::npf_vmpl;
}

bool Rmp::complete_launch(std::uint64_t spa, bool vmsa, const std::array<std::uint8_t, kVmpls>& permissions) {
  const auto there = entry(spa);
  if (!there || state_of(*there) != PageState::pre_guest) return false;
  auto& changed = entries_[covering(spa)];
  changed.immutable = false;
  changed.validated = true;
  changed.vmsa = vmsa;
  changed.permissions = permissions;
  changed.permissions[0] = vmpl_permission::kAll;
  return true;
}

bool Rmp::reclaim(std::uint64_t spa) {
  const auto there = entry(spa);
  if (!there || !there->assigned || !there->immutable || state_of(*there) == PageState::context) return false;
  auto& changed = entries_[covering(spa)];
  changed.immutable = false;
  changed.validated = false;
  changed.vmsa = false;
  if (changed.asid == 0) changed.gpa = 0;
  return true;
}

bool Rmp::make_context(std::uint64_t spa) {
  const auto there = entry(spa);
  if (!there || state_of(*there) != PageState::firmware || there->size != PageSize::small) return false;
  entries_[index_of(spa)].vmsa = true;
  return true;
}

bool Rmp::end_context(std::uint64_t spa) {
  const auto there = entry(spa);
  if (!there || state_of(*there) != PageState::context) return false;
  entries_[index_of(spa)].vmsa = false;
  return true;
}

bool Rmp::assigned_to(std::uint32_t asid) const {
  return std::ranges::any_of(entries_, [asid](const RmpEntry& one) { return one.assigned && one.asid == asid; });
}

}  // namespace cloister::lab_snp
