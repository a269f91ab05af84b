#include "constraints.hpp"

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/evidence/pck.hpp"

namespace cloister::attestation {
namespace {

namespace der = codec::der;
namespace x509 = crypto::x509;

constexpr std::uint16_t kDigitalSignature = 0x8000;
constexpr std::uint16_t kKeyCertSign = 0x0400;
constexpr std::uint16_t kCrlSign = 0x0200;

Error refuse(const x509::Certificate& certificate, const std::string& why) {
  return Error{Errc::certificate_malformed, '"' + certificate.subject_common_name + "\" " + why};
}

/// RFC 5280 section 4.2.1.3: without the extension, the key may be used for anything.
bool may(const x509::Certificate& certificate, std::uint16_t usage) {
  return !certificate.key_usage || (*certificate.key_usage & usage) != 0;
}

/// RFC 5280 section 4.2: a critical extension that is not understood makes the certificate unusable.
Result<void> check_critical(const x509::Certificate& certificate) {
  static const std::vector<Bytes> kUnderstood = {der::oid("2.5.29.15"), der::oid("2.5.29.19"),
                                                 der::oid(evidence::kPckExtensionOid)};
  for (const auto& extension : certificate.extensions) {
    if (extension.critical && std::ranges::find(kUnderstood, extension.oid) == kUnderstood.end()) {
      return refuse(certificate, "has a critical extension that is not understood: " + der::oid_text(extension.oid));
    }
  }
  return {};
}

}  // namespace

Result<void> check_ca(const x509::Certificate& certificate, unsigned below) {
  if (!certificate.is_ca.value_or(false)) return refuse(certificate, "is used as an authority, but is none (basicConstraints)");
  if (certificate.path_length && *certificate.path_length < below) {
    return refuse(certificate, "allows a shorter chain below it (pathLenConstraint)");
  }
  if (!may(certificate, kKeyCertSign)) return refuse(certificate, "may not sign certificates (keyUsage)");
  return check_critical(certificate);
}

Result<void> check_end_entity(const x509::Certificate& certificate) {
  if (certificate.is_ca.value_or(false)) return refuse(certificate, "is an authority, but is used as an end entity");
  if (!may(certificate, kDigitalSignature)) return refuse(certificate, "may not sign data (keyUsage)");
  return check_critical(certificate);
}

Result<void> check_crl_issuer(const x509::Certificate& certificate) {
  if (!may(certificate, kCrlSign)) return refuse(certificate, "may not sign CRLs (keyUsage)");
  return {};
}

}  // namespace cloister::attestation
