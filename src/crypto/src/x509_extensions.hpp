#pragma once

#include "cloister/crypto/x509.hpp"

namespace cloister::crypto::x509::parts {

/// The keyIdentifier of an authorityKeyIdentifier (RFC 5280 section 4.2.1.1); empty when absent.
[[nodiscard]] Result<Bytes> read_authority_key_id(ByteView value);

/// Refuses a subjectAltName, extendedKeyUsage, nameConstraints or cRLDistributionPoints that is not built as RFC 5280
/// says, because such a certificate means different things to different readers; passes every other extension.
[[nodiscard]] Result<void> check_shape(const Extension& extension);

}  // namespace cloister::crypto::x509::parts
