#include "cloister/lab/tdx_module.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/core/assert.hpp"
#include "cloister/crypto/hash.hpp"
#include "td_report.hpp"

namespace cloister::lab::tdx {
namespace {

// ATTRIBUTES and XFAM bits that a TD may have (Base Architecture Specification 348549, "TD attributes and XFAM"): what
// a lab TD cannot honour is refused, so that no report claims it.
constexpr std::uint64_t kAttributesAllowed = TdParams::kDebug | TdParams::kSeptVeDisable | TdParams::kMigratable;
constexpr std::uint64_t kXfamFixed1 = 0x3;
constexpr std::uint64_t kXfamAllowed = 0x6DBE7;

Status check_params(const TdParams& params) {
  if ((params.attributes & ~kAttributesAllowed) != 0) return {Code::operand_invalid, Operand::attributes};
  if ((params.xfam & ~kXfamAllowed) != 0 || (params.xfam & kXfamFixed1) != kXfamFixed1) {
    return {Code::operand_invalid, Operand::xfam};
  }
  if (params.max_vcpus == 0) return {Code::operand_invalid, Operand::max_vcpus};
  return {};
}

Status not_a_root(Operand operand) { return {Code::page_metadata_incorrect, operand}; }

/// What every leaf checks first of a TD: keys, control pages, then the operation state.
Status in_state(const TdControl& td, std::initializer_list<OpState> allowed) {
  if (td.life_cycle != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (td.control_pages < Module::kTdcsPages) return Code::tdcs_not_allocated;
  if (std::ranges::find(allowed, td.op_state) == allowed.end()) return Code::op_state_incorrect;
  return {};
}

TdIdentity identity_of(const TdControl& td) {
  return {td.params, td.mrtd, td.rtmrs, td.servtd_hash, td.servtd.state != ServtdState::not_bound};
}

/// Zero without a service TD, else over what stands of it in the one slot (ABI Reference, SERVTD_HASH).
Digest48 hash_of(const ServtdBinding& servtd) {
  if (servtd.state == ServtdState::not_bound) return {};
  codec::Writer entry;
  entry.raw(servtd.info_hash);
  entry.u16le(servtd.type);
  entry.u64le(servtd.attributes.bits);
  return crypto::sha384(entry.bytes());
}

Status check_servtd(unsigned slot, std::uint16_t type, ServtdAttributes attributes) {
  if (slot != 0) return {Code::operand_invalid, Operand::r8};
  if (type != kServtdMigration) return {Code::operand_invalid, Operand::r9};
  if ((attributes.bits & ~ServtdAttributes::kAllowed) != 0) return {Code::operand_invalid, Operand::r10};
  return {};
}

}  // namespace

#define CLOISTER_LEAF_TRY(...) \
  if (const Status leaf_status = (__VA_ARGS__); !leaf_status.ok()) return leaf_status

Module::Module(const ModuleInfo& info, const ReportKey& key, Options options)
    : info_{info}, key_{&key}, options_{options}, pamt_{options.memory} {
  CLOISTER_ASSERT(options.packages > 0);
}

TdControl* Module::find(Hpa tdr) {
  const auto found = tds_.find(tdr);
  return found == tds_.end() ? nullptr : &found->second;
}

const TdControl* Module::td(Hpa tdr) const {
  const auto found = tds_.find(tdr);
  return found == tds_.end() ? nullptr : &found->second;
}

std::optional<Module::Guest> Module::find_vcpu(Hpa tdvpr) {
  const auto* const page = pamt_.find(tdvpr);
  if (page == nullptr || page->type != PageType::tdvpr) return std::nullopt;
  auto& td = tds_.at(page->owner);
  return Guest{&td, &td.vcpus.at(tdvpr)};
}

const TdControl* Module::running(Hpa tdvpr) const {
  const auto* const page = pamt_.find(tdvpr);
  if (page == nullptr || page->type != PageType::tdvpr) return nullptr;
  const auto& td = tds_.at(page->owner);
  return td.vcpus.at(tdvpr).running ? &td : nullptr;
}

bool Module::private_hkid(std::uint16_t hkid) const {
  return hkid >= options_.first_hkid && hkid - options_.first_hkid < options_.hkids;
}

HkidState Module::hkid_state(std::uint16_t hkid) const {
  const auto found = key_ids_.find(hkid);
  return found == key_ids_.end() ? HkidState::free : found->second.state;
}

Status Module::tdh_sys_update(const ModuleInfo& info) {
  for (const auto& [tdr, td] : tds_) {
    if (std::ranges::any_of(td.vcpus, [](const auto& vcpu) { return vcpu.second.running; })) return Code::sys_busy;
  }
  const auto& ours = info_.tee_tcb_svn;
  if (info.tee_tcb_svn[0] < ours[0] || info.tee_tcb_svn[1] != ours[1]) return Code::sys_invalid_handoff;
  info_ = info;
  return {};
}

// --- life of a TD ---

Status Module::tdh_mng_create(Hpa tdr, std::uint16_t hkid) {
  if (!private_hkid(hkid)) return {Code::operand_invalid, Operand::rdx};
  CLOISTER_LEAF_TRY(pamt_.check_free(tdr, 0, Operand::rcx));
  if (hkid_state(hkid) != HkidState::free) return Code::hkid_not_free;
  key_ids_[hkid] = {HkidState::assigned, {}};
  pamt_.assign(tdr, {PageType::tdr, tdr});
  TdControl td;
  td.hkid = hkid;
  td.launched_by = info_;
  codec::Writer number;
  number.u64le(++created_);
  td.uuid = crypto::sha256({as_bytes("cloister/lab/1/TD UUID"), number.bytes()});
  tds_.emplace(tdr, std::move(td));
  return {};
}

Status Module::tdh_mng_key_config(Hpa tdr, unsigned package) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  if (package >= options_.packages) return {Code::operand_invalid, Operand::rdx};
  if (td->life_cycle != LifeCycle::hkid_assigned) return Code::lifecycle_state_incorrect;
  if (!td->configured_packages.insert(package).second) return Code::key_configured;
  if (td->configured_packages.size() == options_.packages) td->life_cycle = LifeCycle::keys_configured;
  return {};
}

Status Module::tdh_mng_addcx(Hpa page, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  if (td->life_cycle != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (td->control_pages >= kTdcsPages) return Code::tdcx_num_incorrect;
  CLOISTER_LEAF_TRY(pamt_.check_free(page, 0, Operand::rcx));
  pamt_.assign(page, {PageType::tdcx, tdr});
  ++td->control_pages;
  return {};
}

Status Module::tdh_mng_init(Hpa tdr, const TdParams& params) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::uninitialized}));
  CLOISTER_LEAF_TRY(check_params(params));
  td->params = params;
  td->op_state = OpState::initialized;
  return {};
}

Status Module::tdh_mng_vpflushdone(Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  if (td->life_cycle != LifeCycle::keys_configured && td->life_cycle != LifeCycle::hkid_assigned) {
    return Code::lifecycle_state_incorrect;
  }
  const auto associated = [](const auto& vcpu) { return vcpu.second.associated; };
  if (std::ranges::any_of(td->vcpus, associated)) return Code::flushvp_not_done;
  td->life_cycle = LifeCycle::blocked;
  key_ids_[td->hkid] = {HkidState::flushed, td->configured_packages};
  return {};
}

Status Module::tdh_phymem_cache_wb(unsigned package) {
  if (package >= options_.packages) return {Code::operand_invalid, Operand::rcx};
  const auto waits = [](const auto& id) { return id.second.state == HkidState::flushed; };
  if (std::ranges::none_of(key_ids_, waits)) return Code::no_hkid_ready_to_wbcache;
  for (auto& [hkid, id] : key_ids_) {
    if (id.state == HkidState::flushed) id.cached.erase(package);
  }
  return {};
}

Status Module::tdh_mng_key_freeid(Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  if (td->life_cycle != LifeCycle::blocked) return Code::lifecycle_state_incorrect;
  if (!key_ids_[td->hkid].cached.empty()) return Code::wbcache_not_complete;
  key_ids_.erase(td->hkid);
  td->life_cycle = LifeCycle::teardown;
  return {};
}

Status Module::tdh_phymem_page_reclaim(Hpa page) {
  const auto* const metadata = pamt_.find(page);
  if (metadata == nullptr) return {Code::page_metadata_incorrect, Operand::rcx};
  const auto owner = metadata->owner;
  if (tds_.at(owner).life_cycle != LifeCycle::teardown) return Code::lifecycle_state_incorrect;
  if (metadata->type == PageType::tdr) {
    if (pamt_.children(owner) != 0) return Code::td_associated_pages_exist;
    tds_.erase(owner);
  } else if (metadata->type == PageType::tdvpr) {
    tds_.at(owner).vcpus.erase(page);
  }
  contents_.erase(page);
  pamt_.release(page);
  return {};
}

// --- virtual CPUs ---

Status Module::tdh_vp_create(Hpa tdvpr, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized}));
  CLOISTER_LEAF_TRY(pamt_.check_free(tdvpr, 0, Operand::rcx));
  pamt_.assign(tdvpr, {PageType::tdvpr, tdr});
  td->vcpus[tdvpr].pages = {tdvpr};
  return {};
}

Status Module::tdh_vp_addcx(Hpa page, Hpa tdvpr) {
  const auto found = find_vcpu(tdvpr);
  if (!found) return not_a_root(Operand::rdx);
  const auto [td, vcpu] = *found;
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized}));
  if (vcpu->initialized) return Code::vcpu_state_incorrect;
  if (vcpu->pages.size() >= kTdvpsPages) return Code::tdcx_num_incorrect;
  CLOISTER_LEAF_TRY(pamt_.check_free(page, 0, Operand::rcx));
  pamt_.assign(page, {PageType::tdcx, pamt_.find(tdvpr)->owner});
  vcpu->pages.push_back(page);
  return {};
}

Status Module::tdh_vp_init(Hpa tdvpr) {
  const auto found = find_vcpu(tdvpr);
  if (!found) return not_a_root(Operand::rcx);
  const auto [td, vcpu] = *found;
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized}));
  if (vcpu->pages.size() < kTdvpsPages) return Code::tdcx_num_incorrect;
  if (vcpu->initialized) return Code::vcpu_state_incorrect;
  const auto initialized = std::ranges::count_if(td->vcpus, [](const auto& other) { return other.second.initialized; });
  if (initialized >= td->params.max_vcpus) return Code::max_vcpus_exceeded;
  vcpu->initialized = true;
  vcpu->associated = true;
  return {};
}

Status Module::tdh_vp_enter(Hpa tdvpr) {
  const auto found = find_vcpu(tdvpr);
  if (!found) return not_a_root(Operand::rcx);
  const auto [td, vcpu] = *found;
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::runnable}));
  if (!vcpu->initialized) return Code::vcpu_state_incorrect;
  if (vcpu->running) return {Code::operand_busy, Operand::rcx};
  vcpu->associated = true;
  vcpu->running = true;
  vcpu->epoch = td->epoch;
  return {};
}

Status Module::tdh_vp_flush(Hpa tdvpr) {
  const auto found = find_vcpu(tdvpr);
  if (!found) return not_a_root(Operand::rcx);
  const auto [td, vcpu] = *found;
  if (vcpu->running) return {Code::operand_busy, Operand::rcx};
  if (td->life_cycle != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (!vcpu->associated) return Code::vcpu_not_associated;
  vcpu->associated = false;
  return {};
}

void Module::td_exit(Hpa tdvpr) {
  if (const auto found = find_vcpu(tdvpr)) found->vcpu->running = false;
}

// --- memory and its measurement ---

Status Module::tdh_mem_sept_add(std::uint64_t gpa, unsigned level, Hpa tdr, Hpa page) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 1, SecureEpt::kTopLevel)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.check_free(gpa, level));
  CLOISTER_LEAF_TRY(pamt_.check_free(page, 0, Operand::r8));
  CLOISTER_LEAF_TRY(td->sept.add_table(gpa, level, page));
  pamt_.assign(page, {PageType::ept, tdr});
  return {};
}

Status Module::tdh_mem_page_add(std::uint64_t gpa, Hpa tdr, Hpa page, measure::TdPage source) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized}));
  if (!SecureEpt::valid(gpa, 0, 0, 0)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.check_free(gpa, 0));
  CLOISTER_LEAF_TRY(pamt_.check_free(page, 0, Operand::r8));
  CLOISTER_LEAF_TRY(td->sept.add_page(gpa, page));
  pamt_.assign(page, {PageType::reg, tdr});
  contents_[page] = std::make_unique<ByteArray<measure::kTdPageSize>>(to_array<measure::kTdPageSize>(source));
  td->measurement.page_add(gpa);
  return {};
}

Status Module::tdh_mr_extend(std::uint64_t gpa, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized}));
  if (gpa % measure::kTdChunkSize != 0 || gpa >= SecureEpt::kGpaLimit) return {Code::operand_invalid, Operand::rcx};
  if (!td->sept.walk(gpa, 0).ok()) return {Code::ept_entry_not_present, Operand::rcx};
  const auto entry = td->sept.entry(gpa, 0);
  if (entry.state != SeptState::mapped) return Code::ept_entry_not_present;
  const measure::TdPage page{*contents_.at(entry.page)};
  td->measurement.extend(gpa, measure::TdChunk{page.subspan(gpa % kFrameSize).first<measure::kTdChunkSize>()});
  return {};
}

Status Module::tdh_mr_finalize(Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized}));
  const auto initialized = [](const auto& vcpu) { return vcpu.second.initialized; };
  if (std::ranges::none_of(td->vcpus, initialized)) return Code::no_vcpus;
  td->mrtd = td->measurement.finish();
  td->servtd_hash = hash_of(td->servtd);
  td->op_state = OpState::runnable;
  for (const auto& [key, entry] : td->sept.all()) contents_.erase(entry.page);
  return {};
}

Status Module::tdh_mem_page_aug(std::uint64_t gpa, unsigned level, Hpa tdr, Hpa page) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 0, 1)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.check_free(gpa, level));
  CLOISTER_LEAF_TRY(pamt_.check_free(page, level, Operand::r8));
  CLOISTER_LEAF_TRY(td->sept.augment(gpa, level, page));
  pamt_.assign(page, {PageType::reg, tdr, level});
  return {};
}

Status Module::tdh_mem_range_block(std::uint64_t gpa, unsigned level, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 0, SecureEpt::kTopLevel)) return {Code::operand_invalid, Operand::rcx};
  return td->sept.block(gpa, level, td->epoch);
}

Status Module::removable(const TdControl& td, const SeptEntry& entry, Operand operand) {
  if (td.op_state != OpState::runnable || entry.state == SeptState::free) return {};
  if (!is_blocked(entry.state)) return {Code::gpa_range_not_blocked, Operand::rcx};
  const auto may_know = [&](const auto& vcpu) { return vcpu.second.running && vcpu.second.epoch <= entry.blocked_in; };
  if (entry.blocked_in >= td.epoch || std::ranges::any_of(td.vcpus, may_know)) {
    return {Code::tlb_tracking_not_done, operand};
  }
  return {};
}

Status Module::tdh_mem_range_unblock(std::uint64_t gpa, unsigned level, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 0, SecureEpt::kTopLevel)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.walk(gpa, level));
  const auto entry = td->sept.entry(gpa, level);
  if (!is_blocked(entry.state)) return {Code::ept_entry_state_incorrect, Operand::rcx};
  CLOISTER_LEAF_TRY(removable(*td, entry, Operand::sept_tree));
  return td->sept.unblock(gpa, level);
}

Status Module::tdh_mem_track(Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  const auto behind = [&](const auto& vcpu) { return vcpu.second.running && vcpu.second.epoch < td->epoch; };
  if (std::ranges::any_of(td->vcpus, behind)) return Code::previous_tlb_epoch_busy;
  ++td->epoch;
  return {};
}

Status Module::tdh_mem_page_remove(std::uint64_t gpa, unsigned level, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 0, 1)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.walk(gpa, level));
  const auto entry = td->sept.entry(gpa, level);
  if (!is_table(entry.state)) CLOISTER_LEAF_TRY(removable(*td, entry));
  CLOISTER_LEAF_TRY(td->sept.remove_page(gpa, level));
  contents_.erase(entry.page);
  pamt_.release(entry.page);
  return {};
}

Status Module::tdh_mem_sept_remove(std::uint64_t gpa, unsigned level, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 1, SecureEpt::kTopLevel)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.walk(gpa, level));
  const auto entry = td->sept.entry(gpa, level);
  if (is_table(entry.state)) CLOISTER_LEAF_TRY(removable(*td, entry));
  CLOISTER_LEAF_TRY(td->sept.remove_table(gpa, level));
  pamt_.release(entry.page);
  return {};
}

Status Module::tdh_mem_page_demote(std::uint64_t gpa, unsigned level, Hpa tdr, Hpa table) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 1, 1)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.walk(gpa, level));
  const auto entry = td->sept.entry(gpa, level);
  if (entry.state == SeptState::free || is_table(entry.state)) return {Code::ept_entry_state_incorrect, Operand::rcx};
  CLOISTER_LEAF_TRY(removable(*td, entry));
  CLOISTER_LEAF_TRY(pamt_.check_free(table, 0, Operand::r8));
  CLOISTER_LEAF_TRY(td->sept.demote(gpa, table));
  pamt_.assign(table, {PageType::ept, tdr});
  pamt_.split(entry.page);
  return {};
}

Status Module::tdh_mem_page_promote(std::uint64_t gpa, unsigned level, Hpa tdr) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::initialized, OpState::runnable}));
  if (!SecureEpt::valid(gpa, level, 1, 1)) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(td->sept.walk(gpa, level));
  const auto entry = td->sept.entry(gpa, level);
  if (is_table(entry.state)) CLOISTER_LEAF_TRY(removable(*td, entry));
  CLOISTER_LEAF_TRY(td->sept.promote(gpa));
  pamt_.release(entry.page);
  pamt_.join(td->sept.entry(gpa, level).page);
  return {};
}

// --- service TDs ---

Status Module::tdh_servtd_prebind(Hpa tdr, const Digest48& info_hash, unsigned slot, std::uint16_t type,
                                  ServtdAttributes attributes) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::uninitialized, OpState::initialized}));
  CLOISTER_LEAF_TRY(check_servtd(slot, type, attributes));
  if (td->servtd.state == ServtdState::bound) return Code::servtd_bound;
  td->servtd = {ServtdState::pre_bound, type, attributes, info_hash, {}};
  return {};
}

Status Module::tdh_servtd_bind(Hpa tdr, Hpa servtd, unsigned slot, std::uint16_t type, ServtdAttributes attributes) {
  auto* const td = find(tdr);
  if (td == nullptr) return not_a_root(Operand::rcx);
  CLOISTER_LEAF_TRY(in_state(*td, {OpState::uninitialized, OpState::initialized, OpState::runnable}));
  const auto* const service = find(servtd);
  if (service == nullptr) return not_a_root(Operand::rdx);
  CLOISTER_LEAF_TRY(in_state(*service, {OpState::runnable}));
  CLOISTER_LEAF_TRY(check_servtd(slot, type, attributes));
  auto& binding = td->servtd;
  const auto info_hash = service_td_hash(identity_of(*service), attributes);
  if (binding.state == ServtdState::not_bound) {
    if (td->op_state == OpState::runnable) return Code::op_state_incorrect;
  } else {
    if (binding.type != type) return Code::servtd_type_mismatch;
    if (binding.attributes != attributes) return Code::servtd_attr_mismatch;
    const bool by_instance = (attributes.bits & ServtdAttributes::kInstanceBinding) != 0;
    const bool instance = by_instance && binding.state == ServtdState::bound;
    if (instance && binding.uuid != service->uuid) return Code::servtd_uuid_mismatch;
    if (!instance && binding.info_hash != info_hash) return Code::servtd_info_hash_mismatch;
  }
  binding = {ServtdState::bound, type, attributes, info_hash, service->uuid};
  return {};
}

// --- the guest's calls ---

std::optional<TdReportBytes> Module::tdg_mr_report(Hpa tdvpr, const Digest64& report_data) const {
  const auto* const td = running(tdvpr);
  if (td == nullptr) return std::nullopt;
  return make_report({td->launched_by, info_}, identity_of(*td), report_data, *key_);
}

Status Module::tdg_mr_rtmr_extend(Hpa tdvpr, unsigned index, const Digest48& digest) {
  if (running(tdvpr) == nullptr) return Code::op_state_incorrect;
  auto& rtmrs = find_vcpu(tdvpr)->td->rtmrs;
  if (index >= rtmrs.size()) return {Code::operand_invalid, Operand::rdx};
  rtmrs[index] = measure::rtmr_extend(rtmrs[index], digest);
  return {};
}

Status Module::tdg_mr_verifyreport(Hpa tdvpr, ByteView report) const {
  if (running(tdvpr) == nullptr) return Code::op_state_incorrect;
  return key_->verify(report);
}

Status Module::tdg_mem_page_accept(Hpa tdvpr, std::uint64_t gpa, unsigned level) {
  if (running(tdvpr) == nullptr) return Code::op_state_incorrect;
  if (!SecureEpt::valid(gpa, level, 0, 1)) return {Code::operand_invalid, Operand::rcx};
  const auto [td, vcpu] = *find_vcpu(tdvpr);
  const auto status = td->sept.accept(gpa, level);
  if (status.code() == Code::ept_violation) vcpu->running = false;
  return status;
}

std::optional<Access> Module::touch(Hpa tdvpr, std::uint64_t gpa) {
  if (running(tdvpr) == nullptr) return std::nullopt;
  const auto [td, vcpu] = *find_vcpu(tdvpr);
  const auto met = td->sept.access(gpa, (td->params.attributes & TdParams::kSeptVeDisable) != 0);
  if (met == Access::ept_violation) vcpu->running = false;
  return met;
}

#undef CLOISTER_LEAF_TRY

}  // namespace cloister::lab::tdx
