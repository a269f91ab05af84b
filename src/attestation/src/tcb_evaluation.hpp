#pragma once

#include <optional>
#include <string>

#include "cloister/attestation/tcb.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/tcb_info.hpp"

/// The choice of TCB levels and what they add up to (Intel PCS API v4, "Get SGX/TDX TCB Info": how to determine the
/// TCB status; TDX DCAP Quoting Library API for module identities and relaunch).
namespace cloister::attestation {

/// The identity that the module's major version (TEE_TCB_SVN[1]) selects; null when the documents have none for it.
/// Major version 0 has no entry of its own: see `TcbInfo::tdx_module`.
[[nodiscard]] const evidence::TdxModuleIdentity* find_module(const evidence::TcbInfo& info, std::uint8_t major);

struct TcbInputs {
  const evidence::TcbInfo& info;
  const evidence::QeIdentity& qe_identity;
  const evidence::PckExtension& pck;
  std::uint16_t qe_isv_svn;
  const evidence::TdBody* td;  // null for SGX
};
[[nodiscard]] Tcb evaluate_tcb(const TcbInputs& inputs);

}  // namespace cloister::attestation
