#pragma once

#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"

/// What a verifier needs beside an SNP report: the VEK, its authority, the revocation list.
namespace cloister::evidence {

inline constexpr std::size_t kMaxSnpCertificates = 64;

/// In any order, of any number of products and chips: the verification takes what belongs to the report. Owns
/// everything; nothing was verified.
struct SnpEndorsements {
  std::vector<crypto::x509::CertificatePtr> certificates;  // VCEK or VLEK, ASK or ASVK; the ARK may be missing
  std::vector<crypto::x509::Crl> crls;                     // of ARKs

  /// Adds what `other` has.
  void add(SnpEndorsements other);
};

/// The certificate table that a host hands its guest with a report (AMD 56421, GHCB 2.03, section 4.1.8.1; configfs-tsm
/// `auxblob`): entries of GUID, offset and length, a zero entry, then the certificates (DER; some hosts put PEM there). Entries with other GUIDs
/// are left alone. `evidence_malformed` when it is no such table; a certificate or CRL that cannot be read, too.
[[nodiscard]] Result<SnpEndorsements> parse_snp_certificate_table(ByteView bytes);
/// A table of these certificates (by what they are) and lists.
[[nodiscard]] Bytes encode_snp_certificate_table(const SnpEndorsements& endorsements);

}  // namespace cloister::evidence
