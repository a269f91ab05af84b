#include <utility>

#include "cloister/core/assert.hpp"
#include "cloister/lab/tdx.hpp"

namespace cloister::lab::tdx {
namespace {

/// Of a host's call that this host has made sure can be done.
void done(Status status) { CLOISTER_ASSERT(status.ok()); }

}  // namespace

Status Machine::update_module(const ModuleInfo& info) {
  std::vector<Hpa> left;
  for (const auto& [tdr, td] : module.tds()) {
    for (const auto& [tdvpr, vcpu] : td.vcpus) {
      if (vcpu.running) left.push_back(tdvpr);
    }
  }
  for (const auto tdvpr : left) module.td_exit(tdvpr);
  const auto status = module.tdh_sys_update(info);
  for (const auto tdvpr : left) done(module.tdh_vp_enter(tdvpr));
  return status;
}

std::optional<Hpa> Machine::take_page() {
  if (!free_pages_.empty()) {
    const auto page = free_pages_.back();
    free_pages_.pop_back();
    return page;
  }
  if (next_page_ >= module.options().memory) return std::nullopt;
  return Hpa{std::exchange(next_page_, next_page_ + kFrameSize)};
}

std::optional<std::uint16_t> Machine::free_hkid() {
  const auto& options = module.options();
  for (std::uint16_t tried = 0; tried < options.hkids; ++tried) {
    const auto hkid = next_hkid_++;
    if (next_hkid_ - options.first_hkid >= options.hkids) next_hkid_ = options.first_hkid;
    if (module.hkid_state(hkid) == HkidState::free) return hkid;
  }
  return std::nullopt;
}

void tear_down(Machine& machine, Hpa tdr) {
  auto& module = machine.module;
  const auto* const td = module.td(tdr);
  CLOISTER_ASSERT(td != nullptr);
  for (const auto& [tdvpr, vcpu] : td->vcpus) {
    module.td_exit(tdvpr);
    if (vcpu.associated) done(module.tdh_vp_flush(tdvpr));
  }
  const auto& life = td->life_cycle;
  if (life != LifeCycle::blocked && life != LifeCycle::teardown) done(module.tdh_mng_vpflushdone(tdr));
  if (life == LifeCycle::blocked) {
    const auto packages = module.options().packages;
    for (unsigned package = 0; package < packages; ++package) done(module.tdh_phymem_cache_wb(package));
    done(module.tdh_mng_key_freeid(tdr));
  }
  std::vector<std::pair<Hpa, unsigned>> pages;
  for (const auto& [page, metadata] : module.pamt().all()) {
    if (metadata.owner == tdr && metadata.type != PageType::tdr) pages.emplace_back(page, metadata.level);
  }
  pages.emplace_back(tdr, 0);
  for (const auto& [page, level] : pages) {
    done(module.tdh_phymem_page_reclaim(page));
    for (std::uint64_t at = 0; at < span_of(level); at += kFrameSize) machine.give_back(Hpa{page.value + at});
  }
}

Td::Td(std::shared_ptr<Machine> machine, Hpa tdr, Hpa tdvpr)
    : machine_{std::move(machine)}, tdr_{tdr}, tdvpr_{tdvpr}, control_{machine_->module.td(tdr)} {
  CLOISTER_ASSERT(control_ != nullptr);
}

Td& Td::operator=(Td&& other) noexcept {
  std::swap(machine_, other.machine_);
  std::swap(tdr_, other.tdr_);
  std::swap(tdvpr_, other.tdvpr_);
  std::swap(control_, other.control_);
  return *this;
}

Td::~Td() {
  if (machine_ != nullptr) tear_down(*machine_, tdr_);
}

Status Td::tdg_mr_rtmr_extend(GuestLevel level, unsigned index, const Digest48& digest) {
  if (level == GuestLevel::user && index < 2) return {Code::operand_invalid, Operand::rdx};
  return machine_->module.tdg_mr_rtmr_extend(tdvpr_, index, digest);
}

std::optional<TdReportBytes> Td::tdg_mr_report(const Digest64& report_data) const {
  return machine_->module.tdg_mr_report(tdvpr_, report_data);
}

Status Td::tdg_mr_verifyreport(ByteView report) const { return machine_->module.tdg_mr_verifyreport(tdvpr_, report); }

}  // namespace cloister::lab::tdx
