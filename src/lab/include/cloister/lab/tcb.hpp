#pragma once

#include <cstdint>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/tcb_info.hpp"

/// LAB ONLY - NOT HARDWARE. Security versions: what one machine runs, and what its maker has published about versions.
/// A TCB recovery is told by changing one or the other.
namespace cloister::lab {

/// What the machine runs.
struct MachineTcb {
  ByteArray<16> sgx_components{};  // microcode and SGX firmware; in the PCK certificate, and CPUSVN of reports
  std::uint16_t pcesvn = 0;        // in the PCK certificate
  ByteArray<16> tee_tcb_svn{};     // in TD reports: [0] the module's minor SVN, [1] its major version, [2] microcode
  std::uint16_t qe_isvsvn = 0;     // in the quoting enclave's report

  friend bool operator==(const MachineTcb&, const MachineTcb&) = default;
};

/// What TCB Info and QE identity say. Levels stand in descending order: the first that a machine reaches counts.
struct PublishedTcb {
  std::uint32_t evaluation_data_number = 0;  // of both documents
  std::vector<evidence::TcbLevel> levels;
  std::vector<evidence::TdxModuleIdentity> modules;
  std::vector<evidence::IsvTcbLevel> qe_levels;
};

struct TcbState {
  MachineTcb machine;
  PublishedTcb published;

  /// A machine that is up to date in everything, with one level below it that is not. `date`: of the newest levels,
  /// whole seconds; the others are half a year older.
  [[nodiscard]] static TcbState current(UnixTime date);
};

/// The SVNs of a level as TCB Info spells them, with the names of the components that have one.
[[nodiscard]] evidence::TcbComponents sgx_components(const ByteArray<16>& svns);
[[nodiscard]] evidence::TcbComponents tdx_components(const ByteArray<16>& svns);

}  // namespace cloister::lab
