#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/signature_cache.hpp"

/// The part of X.509 (RFC 5280) that TEE vendors use: v3 certificates and v2 CRLs, read strictly, with ECDSA keys
/// on P-256 and P-384 and RSA-PSS/PKCS#1 signatures recognised. Parsing proves nothing: nothing here trusts.
///
/// Refused beyond what DER refuses: versions but v3 (CRLs: v2); signature algorithms that differ inside and outside;
/// extensions that come twice, and an explicit critical FALSE; unique identifiers; serial numbers above 21 octets;
/// names with an empty set, a NUL character, a second commonName, or strings that are not UTF8String,
/// PrintableString or IA5String of their alphabet; points off their curve; basicConstraints with a path length but
/// no cA; a keyUsage without a bit. Allowed, because vendors issue them: serial numbers that are zero or negative.
namespace cloister::crypto::x509 {

/// `rsa_pss_sha384` is RSASSA-PSS with SHA-384, MGF1 of SHA-384 and a salt of 48 bytes (RFC 4055), as AMD signs;
/// other parameters, as other algorithms, are `other`, which nothing verifies.
enum class SignatureAlgorithm { ecdsa_sha256, ecdsa_sha384, rsa_pss_sha384, rsa_pkcs1_sha256, rsa_pkcs1_sha384, other };

/// Bytes that were signed, and their digest with the algorithm's hash (empty for `other`), which fits them always.
class SignedBytes {
 public:
  SignedBytes() = default;
  SignedBytes(ByteView bytes, SignatureAlgorithm algorithm);
  [[nodiscard]] const Bytes& bytes() const noexcept { return bytes_; }
  [[nodiscard]] ByteView digest() const noexcept { return digest_.view(); }
  operator ByteView() const noexcept { return bytes_; }

  friend bool operator==(const SignedBytes& a, const SignedBytes& b) noexcept { return a.bytes_ == b.bytes_; }

 private:
  Bytes bytes_;
  MessageDigest digest_;
};

struct RsaPublicKey {
  Bytes modulus;   // big-endian, no leading zero
  Bytes exponent;  // big-endian, no leading zero
};

struct Extension {
  Bytes oid;  // contents octets
  bool critical = false;
  Bytes value;
};

/// A parsed certificate; owns its bytes. Immutable, thread-safe.
struct Certificate {
  Bytes der;
  SignedBytes tbs;
  Bytes serial;  // INTEGER contents as they stand (may be zero or negative: real VCEKs)
  SignatureAlgorithm algorithm = SignatureAlgorithm::other;
  Bytes signature;
  Bytes issuer;   // whole Name, DER
  Bytes subject;  // whole Name, DER
  std::string subject_common_name;  // empty when there is none
  std::string issuer_common_name;
  UnixTime not_before{};
  UnixTime not_after{};
  Bytes public_key_info;                        // SubjectPublicKeyInfo, DER
  std::variant<std::monostate, EcPublicKey, RsaPublicKey> key;  // monostate: a kind that is not supported
  std::vector<Extension> extensions;            // all, in order; unique OIDs. Unknown critical ones are the caller's
  std::optional<bool> is_ca;                    // basicConstraints cA, absent when the extension is
  std::optional<std::uint64_t> path_length;
  std::optional<std::uint16_t> key_usage;       // bit 0 (digitalSignature) is 0x8000, keyCertSign 0x0400, cRLSign 0x0200
  Bytes subject_key_id;                         // empty when absent
  Bytes authority_key_id;                       // keyIdentifier; empty when absent

  [[nodiscard]] const Extension* find(ByteView oid) const noexcept;
};
using CertificatePtr = std::shared_ptr<const Certificate>;

inline constexpr std::size_t kMaxCertificateSize = 32 * 1024;
inline constexpr std::size_t kMaxCrlSize = 4U << 20;

/// DER, whole; `certificate_malformed` with the place.
[[nodiscard]] Result<CertificatePtr> parse_certificate(ByteView der);
/// A PEM text of one to `max` certificates, in order; any other kind of block is refused.
[[nodiscard]] Result<std::vector<CertificatePtr>> parse_chain(std::string_view pem, std::size_t max = 8);
/// The same; a certificate that is among `known`, byte for byte, is shared and not parsed again.
[[nodiscard]] Result<std::vector<CertificatePtr>> parse_chain(std::string_view pem, std::span<const CertificatePtr> known,
                                                              std::size_t max = 8);

/// The certificates, each before its issuer, by their names: some quotes bring them in another order, and Intel's own
/// verification takes them in any. Unchanged when they are no single chain.
[[nodiscard]] std::vector<CertificatePtr> leaf_first(std::vector<CertificatePtr> given);

struct RevokedEntry {
  Bytes serial;
  UnixTime at;
};

/// A parsed CRL; owns its bytes.
struct Crl {
  Bytes der;
  SignedBytes tbs;
  SignatureAlgorithm algorithm = SignatureAlgorithm::other;
  Bytes signature;
  Bytes issuer;  // whole Name, DER
  std::string issuer_common_name;
  UnixTime this_update{};
  std::optional<UnixTime> next_update;
  std::optional<std::uint64_t> number;  // cRLNumber when it fits
  Bytes authority_key_id;
  std::vector<RevokedEntry> revoked;    // sorted by serial

  [[nodiscard]] bool revokes(ByteView serial) const noexcept;
};

/// DER, whole; `collateral_malformed` with the place. Refuses critical extensions (of the list and of entries), delta
/// and indirect CRLs, and those of a part of the certificates (RFC 5280 sections 5.2.4, 5.2.5, 5.3.3).
[[nodiscard]] Result<Crl> parse_crl(ByteView der);

/// `signature_invalid` unless the key of `issuer` signed it; `unsupported` when algorithm and key do not fit each other
/// here (RSA: 2048 to 8192 bits). Names, dates and constraints are the caller's.
/// With a cache, a signature that it holds is not verified again, and a valid one is added.
[[nodiscard]] Result<void> verify_signature(const Certificate& certificate, const Certificate& issuer,
                                            SignatureCache* cache = nullptr);
[[nodiscard]] Result<void> verify_signature(const Crl& crl, const Certificate& issuer, SignatureCache* cache = nullptr);

// --- issuing (the lab's authorities, tests) ---

struct NameSpec {
  std::string common_name;
  std::string organization;  // omitted when empty
  std::string locality;
  std::string state;
  std::string country;       // two letters
  std::string organizational_unit{};
};
/// commonName first, country last; UTF8String, the country PrintableString.
[[nodiscard]] Bytes encode_name(const NameSpec& name);
/// Whom a certificate is for.
using SubjectKey = std::variant<EcPublicKey, RsaPublicKey>;
/// SHA-1 of the key's BIT STRING contents (RFC 5280 section 4.2.1.2, method 1): what certificates issued here carry.
[[nodiscard]] Bytes key_id(const SubjectKey& key);

struct CertificateSpec {
  Bytes serial;  // big-endian, unsigned
  Bytes issuer;  // Name, DER
  Bytes subject;
  UnixTime not_before;
  UnixTime not_after;
  SubjectKey key;
  bool is_ca = false;
  std::optional<unsigned> path_length{};
  std::uint16_t key_usage = 0x8000;       // 0, for an end entity alone: `extensions` are all that there are, as in AMD's VEKs
  std::vector<Extension> extensions{};  // beside basicConstraints, keyUsage and the key identifiers
  Bytes authority_key_id{};               // issuer's subject key id; empty for self-signed
};
/// Signed by `issuer_key` with its curve's ECDSA; the subject key id is `key_id(spec.key)`.
[[nodiscard]] Bytes issue_certificate(const CertificateSpec& spec, const EcPrivateKey& issuer_key);

struct CrlSpec {
  Bytes issuer;
  Bytes authority_key_id{};
  std::uint64_t number = 1;
  UnixTime this_update;
  UnixTime next_update;
  std::vector<RevokedEntry> revoked{};
};
[[nodiscard]] Bytes issue_crl(const CrlSpec& spec, const EcPrivateKey& issuer_key);

}  // namespace cloister::crypto::x509
