#include "tcb_evaluation.hpp"

#include <algorithm>
#include <span>

namespace cloister::attestation {
namespace {

using evidence::IsvTcbLevel;
using evidence::TcbComponents;
using evidence::TcbInfo;
using evidence::TcbLevel;
using Svns = ByteArray<16>;

constexpr std::size_t kModuleMinor = 0;  // indices into TEE_TCB_SVN
constexpr std::size_t kModuleMajor = 1;

TcbStatus from_document(evidence::TcbStatus status) {
  switch (status) {
    case evidence::TcbStatus::up_to_date: return TcbStatus::up_to_date;
    case evidence::TcbStatus::sw_hardening_needed: return TcbStatus::sw_hardening_needed;
    case evidence::TcbStatus::configuration_needed: return TcbStatus::configuration_needed;
    case evidence::TcbStatus::configuration_and_sw_hardening_needed:
      return TcbStatus::configuration_and_sw_hardening_needed;
    case evidence::TcbStatus::out_of_date: return TcbStatus::out_of_date;
    case evidence::TcbStatus::out_of_date_configuration_needed: return TcbStatus::out_of_date_configuration_needed;
    case evidence::TcbStatus::revoked: return TcbStatus::revoked;
  }
  return TcbStatus::not_supported;
}

/// Components 0 and 1 of a TDX module with a major version belong to its identity, not to the platform.
std::size_t first_tdx_component(const Svns& tee_tcb_svn) { return tee_tcb_svn[kModuleMajor] > 0 ? 2 : 0; }

bool reaches(const Svns& have, const TcbComponents& need, std::size_t from) {
  for (std::size_t i = from; i < have.size(); ++i) {
    if (have[i] < need[i].svn) return false;
  }
  return true;
}

/// What the platform has, of which levels ask more or less.
struct Platform {
  const evidence::PckExtension& pck;
  const Svns* tee_tcb_svn;  // null for SGX

  [[nodiscard]] bool reaches(const TcbLevel& level) const {
    if (!attestation::reaches(pck.components, level.sgx, 0) || pck.pce_svn < level.pce_svn) return false;
    if (tee_tcb_svn == nullptr) return true;
    return level.tdx && attestation::reaches(*tee_tcb_svn, *level.tdx, first_tdx_component(*tee_tcb_svn));
  }
};

const TcbLevel* find_level(std::span<const TcbLevel> levels, const Platform& platform) {
  const auto found = std::ranges::find_if(levels, [&](const TcbLevel& level) { return platform.reaches(level); });
  return found == levels.end() ? nullptr : &*found;
}

const IsvTcbLevel* find_level(std::span<const IsvTcbLevel> levels, std::uint16_t isv_svn) {
  const auto found = std::ranges::find_if(levels, [&](const IsvTcbLevel& level) { return level.isv_svn <= isv_svn; });
  return found == levels.end() ? nullptr : &*found;
}

template <class Level>
TcbStatus status_of(const Level* level) {
  return level == nullptr ? TcbStatus::not_supported : from_document(level->status);
}

/// The QE and the TDX module can only lower what the platform has. A part that is neither current nor revoked counts
/// as out of date, whatever word the document uses for it.
TcbStatus converge(TcbStatus platform, std::initializer_list<TcbStatus> parts) {
  const auto any = [&](TcbStatus wanted) { return std::ranges::find(parts, wanted) != parts.end(); };
  if (platform == TcbStatus::not_supported || any(TcbStatus::not_supported)) return TcbStatus::not_supported;
  if (any(TcbStatus::revoked)) return TcbStatus::revoked;
  if (std::ranges::all_of(parts, [](TcbStatus part) { return part == TcbStatus::up_to_date; })) return platform;
  if (platform == TcbStatus::up_to_date || platform == TcbStatus::sw_hardening_needed) return TcbStatus::out_of_date;
  if (platform == TcbStatus::configuration_needed || platform == TcbStatus::configuration_and_sw_hardening_needed) {
    return TcbStatus::out_of_date_configuration_needed;
  }
  return platform;
}

/// The levels that one TEE_TCB_SVN (or none) reaches.
struct Matched {
  const TcbLevel* platform = nullptr;
  const IsvTcbLevel* module = nullptr;
  std::optional<TcbStatus> module_status;  // absent where no module identity counts
  TcbStatus converged = TcbStatus::not_supported;
};

Matched match(const TcbInputs& in, const Svns* tee_tcb_svn, TcbStatus qe) {
  Matched out;
  out.platform = find_level(in.info.levels, Platform{in.pck, tee_tcb_svn});
  if (tee_tcb_svn == nullptr || (*tee_tcb_svn)[kModuleMajor] == 0) {
    out.converged = converge(status_of(out.platform), {qe});
    return out;
  }
  if (const auto* identity = find_module(in.info, (*tee_tcb_svn)[kModuleMajor])) {
    out.module = find_level(identity->levels, (*tee_tcb_svn)[kModuleMinor]);
  }
  out.module_status = status_of(out.module);
  out.converged = converge(status_of(out.platform), {qe, *out.module_status});
  return out;
}

bool needs_configuration(TcbStatus status) {
  return status == TcbStatus::configuration_needed || status == TcbStatus::configuration_and_sw_hardening_needed ||
         status == TcbStatus::out_of_date_configuration_needed;
}

/// A TD that was launched on an old TCB, on a host whose TCB is good by now, gets well by being launched again.
TcbStatus with_relaunch(TcbStatus launch, TcbStatus current) {
  if (launch == TcbStatus::not_supported || current == TcbStatus::not_supported) return TcbStatus::not_supported;
  const bool old = launch == TcbStatus::out_of_date || launch == TcbStatus::out_of_date_configuration_needed;
  const bool good = current == TcbStatus::up_to_date || current == TcbStatus::sw_hardening_needed ||
                    current == TcbStatus::configuration_needed ||
                    current == TcbStatus::configuration_and_sw_hardening_needed;
  if (!old || !good) return launch;
  return needs_configuration(launch) || needs_configuration(current)
             ? TcbStatus::td_relaunch_advised_configuration_needed
             : TcbStatus::td_relaunch_advised;
}

/// The nearest level above `matched` (above the lowest, when nothing matched) whose status is better.
template <class Level>
const Level* next_better(std::span<const Level> levels, const Level* matched) {
  const auto status = status_of(matched);
  const Level* above = matched == nullptr ? levels.data() + levels.size() : matched;
  while (above != levels.data()) {
    --above;
    if (from_document(above->status) < status) return above;
  }
  return nullptr;
}

constexpr std::size_t kMostGaps = 16 + 1 + 16 + 2;

void note(std::vector<TcbGap>& out, std::string_view component, unsigned have, unsigned need) {
  if (have >= need) return;
  out.reserve(kMostGaps);
  out.push_back({std::string{component}, have, need});
}

void note_components(std::vector<TcbGap>& out, std::string_view name, const Svns& have, const TcbComponents& need,
                     std::size_t from) {
  for (std::size_t i = from; i < have.size(); ++i) {
    if (have[i] < need[i].svn) note(out, std::string{name} + '[' + std::to_string(i) + ']', have[i], need[i].svn);
  }
}

std::vector<TcbGap> distance(const TcbInputs& in, const Matched& launch, const IsvTcbLevel* qe_level) {
  std::vector<TcbGap> out;
  if (const auto* next = next_better(std::span{in.info.levels}, launch.platform)) {
    note_components(out, "sgxtcbcomponents", in.pck.components, next->sgx, 0);
    note(out, "pcesvn", in.pck.pce_svn, next->pce_svn);
    if (in.td != nullptr && next->tdx) {
      note_components(out, "tdxtcbcomponents", in.td->tee_tcb_svn, *next->tdx, first_tdx_component(in.td->tee_tcb_svn));
    }
  }
  if (launch.module_status) {
    const auto* identity = find_module(in.info, in.td->tee_tcb_svn[kModuleMajor]);
    const auto* next = identity == nullptr ? nullptr : next_better(std::span{identity->levels}, launch.module);
    if (next != nullptr) note(out, "tdx_module.isvsvn", in.td->tee_tcb_svn[kModuleMinor], next->isv_svn);
  }
  if (const auto* next = next_better(std::span{in.qe_identity.levels}, qe_level)) {
    note(out, "qe.isvsvn", in.qe_isv_svn, next->isv_svn);
  }
  return out;
}

template <class Level>
void gather(Tcb& out, const Level* level) {
  if (level == nullptr) return;
  out.tcb_date = out.tcb_date ? std::min(*out.tcb_date, level->tcb_date) : level->tcb_date;
  out.advisory_ids.insert(out.advisory_ids.end(), level->advisory_ids.begin(), level->advisory_ids.end());
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

const evidence::TdxModuleIdentity* find_module(const TcbInfo& info, std::uint8_t major) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  const std::string wanted = std::string{"TDX_"} + kDigits[major >> 4U] + kDigits[major & 0xFU];
  const auto same = [&](const evidence::TdxModuleIdentity& identity) {
    return std::ranges::equal(identity.id, wanted, {}, upper);
  };
  const auto found = std::ranges::find_if(info.tdx_module_identities, same);
  return found == info.tdx_module_identities.end() ? nullptr : &*found;
}

Tcb evaluate_tcb(const TcbInputs& in) {
  const auto* qe_level = find_level(in.qe_identity.levels, in.qe_isv_svn);
  const auto qe = status_of(qe_level);
  const auto launch = match(in, in.td == nullptr ? nullptr : &in.td->tee_tcb_svn, qe);

  Tcb out{.status = launch.converged,
          .platform = status_of(launch.platform),
          .module = launch.module_status,
          .qe = qe,
          .current = std::nullopt,
          .advisory_ids = {},
          .tcb_date = std::nullopt,
          .tcb_info_number = in.info.tcb_evaluation_data_number,
          .qe_identity_number = in.qe_identity.tcb_evaluation_data_number,
          .distance = distance(in, launch, qe_level)};
  if (in.td != nullptr && in.td->v15) {
    out.current = match(in, &in.td->v15->tee_tcb_svn2, qe).converged;
    out.status = with_relaunch(launch.converged, *out.current);
  }
  std::size_t advisories = 0;
  for (const auto* ids : {launch.platform ? &launch.platform->advisory_ids : nullptr,
                          launch.module ? &launch.module->advisory_ids : nullptr, qe_level ? &qe_level->advisory_ids : nullptr}) {
    if (ids != nullptr) advisories += ids->size();
  }
  out.advisory_ids.reserve(advisories);
  gather(out, launch.platform);
  gather(out, launch.module);
  gather(out, qe_level);
  std::ranges::sort(out.advisory_ids);
  out.advisory_ids.erase(std::unique(out.advisory_ids.begin(), out.advisory_ids.end()), out.advisory_ids.end());
  return out;
}

}  // namespace cloister::attestation
