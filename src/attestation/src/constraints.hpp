#pragma once

#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"

/// The rules of RFC 5280 for a certificate's place in a chain. Errors are `certificate_malformed`, with the name.
namespace cloister::attestation {

/// It may issue certificates, with `below` more authorities under it; no critical extension that is not understood.
[[nodiscard]] Result<void> check_ca(const crypto::x509::Certificate& certificate, unsigned below);
/// It may sign data and is no authority; no critical extension that is not understood.
[[nodiscard]] Result<void> check_end_entity(const crypto::x509::Certificate& certificate);
/// It may sign CRLs.
[[nodiscard]] Result<void> check_crl_issuer(const crypto::x509::Certificate& certificate);

}  // namespace cloister::attestation
