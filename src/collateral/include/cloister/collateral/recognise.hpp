#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cloister/collateral/source.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/collateral.hpp"

/// What a file of collateral is, by its content.
namespace cloister::collateral {

using Certificates = std::vector<crypto::x509::CertificatePtr>;
struct OtherFile {};
using Recognised = std::variant<OtherFile, evidence::QuoteCollateral, evidence::SignedTcbInfo, evidence::SignedQeIdentity,
                                crypto::x509::Crl, Certificates>;

/// `collateral_malformed` when it is of a known kind and cannot be read.
[[nodiscard]] Result<Recognised> recognise(ByteView content);

/// By the common name of the authority.
[[nodiscard]] CaType ca_type(std::string_view issuer_common_name);

}  // namespace cloister::collateral
