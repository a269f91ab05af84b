#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/collateral/key.hpp"
#include "cloister/collateral/recognise.hpp"

/// What names and extensions of vendors' certificates say. Nothing is verified.
namespace cloister::collateral {

/// The chain as PEM, without anything between the blocks.
[[nodiscard]] std::string to_pem(const Certificates& chain);

/// The key of a VCEK (AMD 57230, tables 10 and 11); `collateral_malformed` when the certificate lacks a part of it.
[[nodiscard]] Result<VcekKey> vcek_key_of(const crypto::x509::Certificate& certificate);
[[nodiscard]] bool is_vcek(const crypto::x509::Certificate& certificate) noexcept;

/// By the name of AMD's root, "ARK-Milan".
[[nodiscard]] std::optional<Product> product_of_ark(std::string_view common_name) noexcept;
/// By the name of AMD's intermediate: "SEV-Milan", or "SEV-VLEK-Milan".
[[nodiscard]] std::optional<AmdChainKey> chain_key_of(std::string_view common_name) noexcept;

}  // namespace cloister::collateral
