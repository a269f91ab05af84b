#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/rsa_pss.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/evidence/snp/vek.hpp"
#include "cloister/lab_snp/tcb_secret.hpp"

/// LAB ONLY - NOT HARDWARE. AMD's part of SEV-SNP: the roots, and one chip of each product.
namespace cloister::lab_snp {

/// Whose names the certificates carry. `vendor`: AMD's profile to the letter, to show a lab's evidence to verifiers of others that
/// accept no other; our own accepts such a root under no anchor. The lab's marker is in every certificate of the `lab`
/// profile, and in every authority's of the other: a VEK of AMD's profile has no room for it (docs/adr/0042-…).
enum class Names { lab, vendor };

/// The RSA keys of ARK, ASK and ASVK. An RSA key is not derived from a seed: it is made once and kept. All products
/// share them; their certificates differ in name.
struct AuthorityKeys {
  crypto::RsaPssKey ark;
  crypto::RsaPssKey ask;
  crypto::RsaPssKey asvk;

  /// 4096 bits, as AMD's, take several seconds.
  [[nodiscard]] static AuthorityKeys generate(unsigned bits = crypto::RsaPssKey::kMaxBits);
};

/// Three PEM blocks PRIVATE KEY (PKCS#8): ARK, ASK, ASVK. Secret.
[[nodiscard]] crypto::SecretBytes write_authority_keys(const AuthorityKeys& keys);
/// `key_invalid` for anything that `write_authority_keys` does not write.
[[nodiscard]] Result<AuthorityKeys> parse_authority_keys(std::string_view pem);

/// The certificate hierarchy of AMD 57230 (section 2) for Milan, Genoa and Turin, and the one chip of each that this seed
/// makes: ARK over ASK and ASVK (RSA, PSS with SHA-384), ASK over VCEKs, ASVK over VLEKs (both P-384). One seed, one creation
/// time and the same RSA keys give the same identities, P-384 keys and signed contents; signatures differ.
/// Thread-safe: immutable after construction.
class Authority {
 public:
  /// `created` (whole seconds are kept) begins the certificates' validity: 25 years of the authorities', 7 of the VCEKs',
  /// one of the VLEKs'.
  [[nodiscard]] static Authority create(crypto::Secret<32> seed, AuthorityKeys keys, UnixTime created, Names names = Names::lab);
  Authority(Authority&&) noexcept;
  Authority& operator=(Authority&&) noexcept;
  ~Authority();

  /// ARK of the product: the trust anchor of its reports. Products: Milan, Genoa, Turin (others asserted).
  [[nodiscard]] const crypto::x509::CertificatePtr& root(evidence::SnpProduct product) const;
  /// ASK (VCEK) or ASVK (VLEK).
  [[nodiscard]] const crypto::x509::CertificatePtr& issuer(evidence::SnpProduct product, evidence::VekKind kind) const;
  /// Issuer, then root; PEM, as KDS gives it.
  [[nodiscard]] std::string chain(evidence::SnpProduct product, evidence::VekKind kind) const;
  /// Of the ARK, DER: due again after a year. It revokes ASK and ASVK certificates, by serial.
  [[nodiscard]] Bytes crl(evidence::SnpProduct product, UnixTime now, std::vector<crypto::x509::RevokedEntry> revoked = {}) const;

  /// The chip's id: 64 bytes, of which Turin uses 8.
  [[nodiscard]] Digest64 chip_id(evidence::SnpProduct product) const;
  /// What the chip's firmware holds at this TCB_VERSION; of a VLEK, what its provider was given.
  [[nodiscard]] TcbSecret secret(evidence::SnpProduct product, evidence::VekKind kind, const evidence::SnpTcb& tcb) const;
  /// VCEK of the chip, or VLEK, for this TCB_VERSION.
  [[nodiscard]] crypto::x509::CertificatePtr issue_vek(evidence::SnpProduct product, evidence::VekKind kind,
                                                       const evidence::SnpTcb& tcb) const;
  /// Everything that a verifier needs beside a report: VEK, its issuer, the root and its CRL.
  [[nodiscard]] evidence::SnpEndorsements endorsements(evidence::SnpProduct product, evidence::VekKind kind,
                                                       const evidence::SnpTcb& tcb, UnixTime now) const;

 private:
  struct State;
  explicit Authority(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

/// The report with its signature by the chip's VCEK, or the VLEK, of `secret`, as `body.signing_key` says; all zero in the
/// place of the signature when it says that nobody signs. `invalid_argument` when members and version do not go together.
[[nodiscard]] Result<ByteArray<evidence::kSnpReportSize>> sign_report(const evidence::SnpReportBody& body, const TcbSecret& secret);

}  // namespace cloister::lab_snp
