#pragma once

#include <cstdint>
#include <span>

namespace cloister::attestation {

/// DER of anchors/intel_sgx_root_ca.der, compiled in.
extern const std::span<const std::uint8_t> kIntelSgxRootCa;

}  // namespace cloister::attestation
