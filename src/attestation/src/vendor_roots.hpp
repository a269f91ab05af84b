#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace cloister::attestation {

/// DER of anchors/intel_sgx_root_ca.der, compiled in.
extern const std::span<const std::uint8_t> kIntelSgxRootCa;
/// Of anchors/ark_*.der: one a product.
extern const std::array<std::span<const std::uint8_t>, 3> kArks;

}  // namespace cloister::attestation
