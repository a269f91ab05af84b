#pragma once

#include <string_view>

#include "cloister/codec/der.hpp"
#include "cloister/crypto/x509.hpp"

/// How certificates of a simulated TEE say that they are one: a private extension in every certificate of a lab's
/// chain (root, authorities, signers, leaves), also when the names imitate a vendor's. A marked certificate holds
/// only under an anchor that is listed as a lab root, and taints whatever it vouches for.
namespace cloister::evidence {

/// The marker's extension: this OID, not critical, value DER NULL.
inline constexpr std::string_view kLabMarkerOid = "1.3.6.1.4.1.58270.99.1";
/// Part of the common name of every lab root.
inline constexpr std::string_view kLabRootName = "LAB ONLY - NOT HARDWARE";

/// The extension to put into a certificate that a lab issues.
[[nodiscard]] inline crypto::x509::Extension lab_marker() {
  return {.oid = codec::der::oid(kLabMarkerOid), .critical = false, .value = codec::der::null()};
}

/// True when the certificate carries the marker, whatever its value or criticality.
[[nodiscard]] inline bool has_lab_marker(const crypto::x509::Certificate& certificate) {
  static const auto kOid = codec::der::oid(kLabMarkerOid);
  return certificate.find(kOid) != nullptr;
}

}  // namespace cloister::evidence
