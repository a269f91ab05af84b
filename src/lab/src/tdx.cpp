#include "cloister/lab/tdx.hpp"

#include <algorithm>
#include <limits>

#include "td_report.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr unsigned kSeptTopLevel = 3;
constexpr std::uint64_t kGpaLimit = std::uint64_t{1} << 47;  // private half of a 48-bit guest address space

// ATTRIBUTES and XFAM bits that a TD may have (Base Architecture Specification 348549, "TD attributes and XFAM"): what
// a lab TD cannot honour is refused, so that no report claims it.
constexpr std::uint64_t kAttributesAllowed = TdParams::kDebug | TdParams::kSeptVeDisable | TdParams::kMigratable;
constexpr std::uint64_t kXfamFixed1 = 0x3;
constexpr std::uint64_t kXfamAllowed = 0x6DBE7;

constexpr std::uint64_t span_of(unsigned level) { return std::uint64_t{1} << (12 + 9 * level); }
constexpr bool aligned(std::uint64_t value, std::uint64_t to) { return value % to == 0; }

Status check_params(const TdParams& params) {
  if ((params.attributes & ~kAttributesAllowed) != 0) return {Code::operand_invalid, Operand::attributes};
  if ((params.xfam & ~kXfamAllowed) != 0 || (params.xfam & kXfamFixed1) != kXfamFixed1) {
    return {Code::operand_invalid, Operand::xfam};
  }
  if (params.max_vcpus == 0) return {Code::operand_invalid, Operand::max_vcpus};
  return {};
}

}  // namespace

#define CLOISTER_LEAF_TRY(...) \
  if (const Status leaf_status = (__VA_ARGS__); !leaf_status.ok()) return leaf_status

Status Td::in_state(OpState required) const {
  if (life_cycle_ != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (control_pages_ < kTdcsPages) return Code::tdcs_not_allocated;
  if (op_state_ != required) return Code::op_state_incorrect;
  return {};
}

Status Td::mng_key_config() {
  if (life_cycle_ != LifeCycle::hkid_assigned) return Code::lifecycle_state_incorrect;
  life_cycle_ = LifeCycle::keys_configured;
  return {};
}

Status Td::mng_addcx() {
  if (life_cycle_ != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (control_pages_ >= kTdcsPages) return Code::tdcx_num_incorrect;
  ++control_pages_;
  return {};
}

Status Td::mng_init(const TdParams& params) {
  CLOISTER_LEAF_TRY(in_state(OpState::uninitialized));
  CLOISTER_LEAF_TRY(check_params(params));
  params_ = params;
  measurement_ = {};
  op_state_ = OpState::initialized;
  return {};
}

Status Td::vp_create() {
  CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  vcpus_.emplace_back();
  return {};
}

Status Td::vp_addcx(std::size_t vcpu) {
  if (vcpu >= vcpus_.size()) return {Code::operand_invalid, Operand::rdx};
  CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  auto& it = vcpus_[vcpu];
  if (it.initialized) return Code::vcpu_state_incorrect;
  if (it.pages >= kTdvpsPages) return Code::tdcx_num_incorrect;
  ++it.pages;
  return {};
}

Status Td::vp_init(std::size_t vcpu) {
  if (vcpu >= vcpus_.size()) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  auto& it = vcpus_[vcpu];
  if (it.pages < kTdvpsPages) return Code::tdcx_num_incorrect;
  if (it.initialized) return Code::vcpu_state_incorrect;
  const auto initialized = std::ranges::count_if(vcpus_, &Vcpu::initialized);
  if (initialized >= params_.max_vcpus) return Code::max_vcpus_exceeded;
  it.initialized = true;
  it.associated = true;
  return {};
}

bool Td::mapped(std::uint64_t gpa, unsigned level) const {
  return level > kSeptTopLevel || tables_.contains({level, gpa - gpa % span_of(level)});
}

Status Td::mem_sept_add(std::uint64_t gpa, unsigned level) {
  constexpr Operand kAddress = Operand::rcx;
  if (op_state_ != OpState::runnable) CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  if (life_cycle_ != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (level < 1 || level > kSeptTopLevel || gpa >= kGpaLimit || !aligned(gpa, span_of(level))) {
    return {Code::operand_invalid, kAddress};
  }
  if (!mapped(gpa, level + 1)) return {Code::ept_walk_failed, kAddress};
  if (!tables_.emplace(level, gpa).second) return {Code::ept_entry_state_incorrect, kAddress};
  return {};
}

Status Td::mem_page_add(std::uint64_t gpa, measure::TdPage page) {
  constexpr Operand kAddress = Operand::rcx;
  CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  if (gpa >= kGpaLimit || !aligned(gpa, measure::kTdPageSize)) return {Code::operand_invalid, kAddress};
  if (!mapped(gpa, 1)) return {Code::ept_walk_failed, kAddress};
  if (pages_.contains(gpa)) return {Code::ept_entry_state_incorrect, kAddress};
  pages_.emplace(gpa, std::make_unique<ByteArray<measure::kTdPageSize>>(to_array<measure::kTdPageSize>(page)));
  measurement_.page_add(gpa);
  return {};
}

Status Td::mr_extend(std::uint64_t gpa) {
  constexpr Operand kAddress = Operand::rcx;
  CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  if (gpa >= kGpaLimit || !aligned(gpa, measure::kTdChunkSize)) return {Code::operand_invalid, kAddress};
  const auto offset = gpa % measure::kTdPageSize;
  const auto page = pages_.find(gpa - offset);
  if (page == pages_.end()) return {Code::ept_entry_not_present, kAddress};
  const measure::TdPage bytes{*page->second};
  measurement_.extend(gpa, measure::TdChunk{bytes.subspan(offset).first<measure::kTdChunkSize>()});
  return {};
}

Status Td::mr_finalize() {
  CLOISTER_LEAF_TRY(in_state(OpState::initialized));
  if (std::ranges::none_of(vcpus_, &Vcpu::initialized)) return Code::no_vcpus;
  mrtd_ = measurement_.finish();
  pages_.clear();
  op_state_ = OpState::runnable;
  return {};
}

Status Td::vp_enter(std::size_t vcpu) {
  if (vcpu >= vcpus_.size()) return {Code::operand_invalid, Operand::rcx};
  CLOISTER_LEAF_TRY(in_state(OpState::runnable));
  if (!vcpus_[vcpu].initialized) return Code::vcpu_state_incorrect;
  vcpus_[vcpu].associated = true;
  return {};
}

Status Td::vp_flush(std::size_t vcpu) {
  if (vcpu >= vcpus_.size()) return {Code::operand_invalid, Operand::rcx};
  if (life_cycle_ != LifeCycle::keys_configured) return Code::td_keys_not_configured;
  if (!vcpus_[vcpu].associated) return Code::vcpu_not_associated;
  vcpus_[vcpu].associated = false;
  return {};
}

Status Td::mng_vpflushdone() {
  if (life_cycle_ != LifeCycle::keys_configured && life_cycle_ != LifeCycle::hkid_assigned) {
    return Code::lifecycle_state_incorrect;
  }
  if (std::ranges::any_of(vcpus_, &Vcpu::associated)) return Code::flushvp_not_done;
  life_cycle_ = LifeCycle::blocked;
  return {};
}

Status Td::mng_key_freeid() {
  if (life_cycle_ != LifeCycle::blocked) return Code::lifecycle_state_incorrect;
  life_cycle_ = LifeCycle::teardown;
  pages_.clear();
  return {};
}

Status Td::tdg_mr_rtmr_extend(GuestLevel level, unsigned index, const Digest48& digest) {
  CLOISTER_LEAF_TRY(in_state(OpState::runnable));
  const unsigned lowest = level == GuestLevel::user ? 2 : 0;
  if (index < lowest || index >= measure::kRtmrCount) return {Code::operand_invalid, Operand::rdx};
  rtmrs_[index] = measure::rtmr_extend(rtmrs_[index], digest);
  return {};
}

std::optional<TdReportBytes> Td::tdg_mr_report(const Digest64& report_data) const {
  if (!in_state(OpState::runnable).ok()) return std::nullopt;
  return make_report(*module_, {params_, mrtd_, rtmrs_}, report_data, *key_);
}

Status Td::tdg_mr_verifyreport(ByteView report) const {
  CLOISTER_LEAF_TRY(in_state(OpState::runnable));
  return key_->verify(report);
}

#undef CLOISTER_LEAF_TRY

}  // namespace cloister::lab::tdx
