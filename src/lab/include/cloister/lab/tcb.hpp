#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/time.hpp"

/// LAB ONLY - NOT HARDWARE. Security versions: what one machine runs, and what its maker has published about versions.
/// A TCB recovery is told by changing one or the other.
namespace cloister::lab {

/// What the machine runs. The PCK certificate carries the first two, TD reports the third, the QE's report the last.
struct MachineTcb {
  ByteArray<16> sgx_components{};  // microcode and SGX firmware, also CPUSVN
  std::uint16_t pcesvn = 0;
  ByteArray<16> tee_tcb_svn{};     // [0] the TDX module's minor SVN, [1] its major version, [2] the SEAM loader's SVN
  std::uint16_t qe_isvsvn = 0;
};

/// One level of `tcbLevels` in TCB Info v3.
struct PlatformLevel {
  ByteArray<16> sgx_components{};
  std::uint16_t pcesvn = 0;
  ByteArray<16> tdx_components{};
  UnixTime date{};
  std::string status;  // as PCS spells it: "UpToDate", "OutOfDate", …
  std::vector<std::string> advisories;
};

/// One level of a TDX module identity or of the QE identity.
struct IsvLevel {
  std::uint16_t isvsvn = 0;
  UnixTime date{};
  std::string status;
  std::vector<std::string> advisories;
};

/// The TDX module of one major version: an entry of `tdxModuleIdentities`, "TDX_01" for 1.
struct ModuleIdentity {
  std::uint8_t major_version = 0;
  std::vector<IsvLevel> levels;
};

/// What TCB Info and QE identity say. Levels stand in descending order, as verifiers expect.
struct PublishedTcb {
  std::uint32_t evaluation_data_number = 0;  // tcbEvaluationDataNumber of both documents
  std::vector<PlatformLevel> levels;
  std::vector<ModuleIdentity> modules;
  std::vector<IsvLevel> qe_levels;
};

struct TcbState {
  MachineTcb machine;
  PublishedTcb published;

  /// A machine that is up to date, and one older level below it. `date` is the newest level's.
  [[nodiscard]] static TcbState current(UnixTime date);
};

}  // namespace cloister::lab
