#include "cloister/lab/tcb.hpp"

#include <string_view>

namespace cloister::lab {
namespace {

constexpr std::chrono::days kBetweenLevels{182};
constexpr ByteArray<16> kSgxNow{3, 3, 2, 2, 4, 1, 0, 5};
constexpr ByteArray<16> kSgxBefore{2, 2, 2, 2, 3, 1, 0, 4};
constexpr ByteArray<16> kTdxMachine{5, 1, 4};  // TDX module 1.5 with minor SVN 5; late microcode update 4
constexpr ByteArray<16> kTdxNow{5, 0, 4};      // as levels have it: the major version is not theirs to say
constexpr ByteArray<16> kTdxBefore{4, 0, 2};
constexpr std::uint16_t kPceNow = 13;
constexpr std::uint16_t kPceBefore = 11;
constexpr std::uint16_t kQeNow = 4;
constexpr std::string_view kAdvisory = "LAB-SA-00001";

struct Name {
  std::size_t index;
  std::string_view category;
  std::string_view type;
};
constexpr Name kSgxNames[] = {{0, "BIOS", "Early Microcode Update"},
                              {1, "OS/VMM", "SGX Late Microcode Update"},
                              {2, "OS/VMM", "TXT SINIT"},
                              {3, "BIOS", ""},
                              {4, "BIOS", ""},
                              {5, "BIOS", ""},
                              {7, "OS/VMM", "SEAMLDR ACM"}};
constexpr Name kTdxNames[] = {{0, "OS/VMM", "TDX Module"},
                              {1, "OS/VMM", "TDX Module"},
                              {2, "OS/VMM", "TDX Late Microcode Update"}};

evidence::TcbComponents components(const ByteArray<16>& svns, std::span<const Name> names) {
  evidence::TcbComponents out;
  for (std::size_t i = 0; i < svns.size(); ++i) out[i].svn = svns[i];
  for (const auto& name : names) {
    out[name.index].category = name.category;
    out[name.index].type = name.type;
  }
  return out;
}

struct When {
  UnixTime now;
  UnixTime before;
};

std::vector<evidence::IsvTcbLevel> isv_levels(std::uint16_t newest, const When& when) {
  return {{.isv_svn = newest, .tcb_date = when.now, .status = evidence::TcbStatus::up_to_date, .advisory_ids = {}},
          {.isv_svn = static_cast<std::uint16_t>(newest - 1), .tcb_date = when.before,
           .status = evidence::TcbStatus::out_of_date, .advisory_ids = {std::string{kAdvisory}}}};
}

/// Its signer is the platform's maker, which reports spell as zero.
evidence::TdxModuleIdentity module_identity(std::string_view id, const When& when) {
  evidence::TdxModuleIdentity identity;
  identity.id = id;
  identity.module.attributes_mask.fill(0xFF);
  identity.levels = isv_levels(kTdxNow[0], when);
  return identity;
}

std::vector<evidence::TcbLevel> platform_levels(const When& when) {
  return {{.sgx = sgx_components(kSgxNow), .pce_svn = kPceNow, .tdx = tdx_components(kTdxNow), .tcb_date = when.now,
           .status = evidence::TcbStatus::up_to_date, .advisory_ids = {}},
          {.sgx = sgx_components(kSgxBefore), .pce_svn = kPceBefore, .tdx = tdx_components(kTdxBefore),
           .tcb_date = when.before, .status = evidence::TcbStatus::out_of_date,
           .advisory_ids = {std::string{kAdvisory}}}};
}

}  // namespace

evidence::TcbComponents sgx_components(const ByteArray<16>& svns) { return components(svns, kSgxNames); }
evidence::TcbComponents tdx_components(const ByteArray<16>& svns) { return components(svns, kTdxNames); }

TcbState TcbState::current(UnixTime date) {
  const auto now = std::chrono::floor<std::chrono::seconds>(date);
  const When when{now, now - kBetweenLevels};
  TcbState state;
  state.machine = {.sgx_components = kSgxNow, .pcesvn = kPceNow, .tee_tcb_svn = kTdxMachine, .qe_isvsvn = kQeNow};
  state.published = {.evaluation_data_number = 17,
                     .levels = platform_levels(when),
                     .modules = {module_identity("TDX_01", when), module_identity("TDX_03", when)},
                     .qe_levels = isv_levels(kQeNow, when)};
  return state;
}

}  // namespace cloister::lab
