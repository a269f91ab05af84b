#include "authority.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::lab {
namespace {

using crypto::x509::Certificate;
using crypto::x509::CertificatePtr;

constexpr std::chrono::days kRootLife{30 * 365};
constexpr std::chrono::days kCaLife{15 * 365};
constexpr std::chrono::days kLeafLife{7 * 365};
constexpr std::chrono::days kPckCrlLife{30};
constexpr std::chrono::days kRootCrlLife{365};

// RFC 5280 section 4.2.1.3, as x509::CertificateSpec has them.
constexpr std::uint16_t kUsageLeaf = 0xC000;  // digitalSignature, nonRepudiation
constexpr std::uint16_t kUsageCa = 0x0600;    // keyCertSign, cRLSign

constexpr std::string_view kSeedDomain = "cloister/lab/1/";
constexpr std::string_view kRootUse = "root CA";
constexpr std::string_view kCaUse = "PCK platform CA";
constexpr std::string_view kTcbSignerUse = "TCB signer";

Bytes name(Names names, std::string_view role) {
  const bool vendor = names == Names::vendor;
  crypto::x509::NameSpec spec;
  spec.common_name = std::string{vendor ? std::string_view{"Intel"} : evidence::kLabRootName} + " SGX " + std::string{role};
  spec.organization = vendor ? "Intel Corporation" : "Cloister lab";
  if (vendor) {
    spec.locality = "Santa Clara";
    spec.state = "CA";
    spec.country = "US";
  }
  return crypto::x509::encode_name(spec);
}

/// cRLDistributionPoints (RFC 5280 section 4.2.1.13) of what the root issued. The address leads nowhere (RFC 2606): the
/// lab's CRLs come with its collateral. The PCK certificate has none, because go-tdx-guest accepts exactly six extensions
/// there, of which one is the lab's marker.
crypto::x509::Extension root_crl_location() {
  namespace der = codec::der;
  const auto address = der::element(der::tag::context(6, false), as_bytes("https://lab.invalid/root-ca.crl"));
  const auto full_name = der::element(der::tag::context(0, true), address);
  const auto point = der::sequence({der::element(der::tag::context(0, true), full_name)});
  return {.oid = der::oid("2.5.29.31"), .critical = false, .value = der::sequence({point})};
}

/// Positive and without a leading zero, whatever was derived.
Bytes serial_of(ByteArray<16> derived) {
  derived[0] = static_cast<std::uint8_t>((derived[0] & 0x3F) | 0x40);
  return to_bytes(derived);
}

CertificatePtr sign(const crypto::x509::CertificateSpec& spec, const crypto::EcPrivateKey& issuer) {
  auto certificate = crypto::x509::parse_certificate(crypto::x509::issue_certificate(spec, issuer));
  CLOISTER_ASSERT(certificate.ok());  // our own
  return std::move(certificate).value();
}

CertificatePtr self_signed_root(const Seed& seed, const crypto::EcPrivateKey& key, UnixTime created, Names names) {
  const auto subject = name(names, "Root CA");
  return sign({.serial = serial_of(seed.identity<16>("root CA serial")),
               .issuer = subject,
               .subject = subject,
               .not_before = created,
               .not_after = created + kRootLife,
               .key = key.public_key(),
               .is_ca = true,
               .path_length = 1,
               .key_usage = kUsageCa,
               .extensions = {evidence::lab_marker(), root_crl_location()},
               .authority_key_id = {}},
              key);
}

/// A certificate under `issuer`, valid from when the root is.
struct Child {
  std::string_view use;  // of the seed
  std::string_view role;
  std::chrono::days life;
  bool is_ca;
};
Issued issue_child(const Seed& seed, const Issued& issuer, Names names, const Child& child) {
  auto key = seed.key(child.use);
  const auto created = issuer.certificate->not_before;
  auto certificate = sign({.serial = serial_of(seed.identity<16>(std::string{child.use} + " serial")),
                           .issuer = issuer.certificate->subject,
                           .subject = name(names, child.role),
                           .not_before = created,
                           .not_after = created + child.life,
                           .key = key.public_key(),
                           .is_ca = child.is_ca,
                           .path_length = child.is_ca ? std::optional<unsigned>{0} : std::nullopt,
                           .key_usage = child.is_ca ? kUsageCa : kUsageLeaf,
                           .extensions = {evidence::lab_marker(), root_crl_location()},
                           .authority_key_id = issuer.certificate->subject_key_id},
                          issuer.key);
  return {std::move(key), std::move(certificate)};
}

std::string pem(const Certificate& certificate) { return codec::to_pem("CERTIFICATE", certificate.der); }

Bytes issue_crl(const Issued& issuer, UnixTime now, std::chrono::days life,
                std::vector<crypto::x509::RevokedEntry> revoked) {
  const auto this_update = std::chrono::floor<std::chrono::seconds>(now);
  crypto::x509::CrlSpec spec;
  spec.issuer = issuer.certificate->subject;
  spec.authority_key_id = issuer.certificate->subject_key_id;
  spec.number = static_cast<std::uint64_t>(this_update.time_since_epoch().count());  // grows with time
  spec.this_update = this_update;
  spec.next_update = this_update + life;
  spec.revoked = std::move(revoked);
  return crypto::x509::issue_crl(spec, issuer.key);
}

}  // namespace

crypto::EcPrivateKey Seed::key(std::string_view use) const {
  return crypto::EcPrivateKey::derive(crypto::Curve::p256, seed_.reveal(),
                                      as_bytes(std::string{kSeedDomain} + std::string{use}));
}

crypto::Secret<32> Seed::secret(std::string_view use) const {
  return crypto::hkdf32({}, seed_.reveal(), as_bytes(std::string{kSeedDomain} + std::string{use}));
}

Authority::Authority(const Seed& seed, Issued root, Names names)
    : names_{names},
      root_{std::move(root)},
      ca_{issue_child(seed, root_, names, {kCaUse, "PCK Platform CA", kCaLife, true})},
      tcb_signer_{issue_child(seed, root_, names, {kTcbSignerUse, "TCB Signing", kLeafLife, false})} {}

Authority Authority::create(const Seed& seed, UnixTime created, Names names) {
  auto key = seed.key(kRootUse);
  auto certificate = self_signed_root(seed, key, std::chrono::floor<std::chrono::seconds>(created), names);
  return {seed, {std::move(key), std::move(certificate)}, names};
}

Result<Authority> Authority::open(const Seed& seed, ByteView root, Names names) {
  CLOISTER_TRY(certificate, crypto::x509::parse_certificate(root));
  auto key = seed.key(kRootUse);
  const auto* certified = std::get_if<crypto::EcPublicKey>(&certificate->key);
  if (certified == nullptr || certified->xy() != key.public_key().xy() || certificate->subject != name(names, "Root CA")) {
    return Error{Errc::key_invalid, "lab platform: the root certificate is not this seed's"};
  }
  return Authority{seed, {std::move(key), std::move(certificate)}, names};
}

CertificatePtr Authority::issue_pck(const crypto::EcPublicKey& key, const ByteArray<16>& serial,
                                    const evidence::PckExtension& extension) const {
  crypto::x509::Extension sgx{.oid = codec::der::oid(evidence::kPckExtensionOid),
                              .critical = false,
                              .value = evidence::encode_pck_extension(extension)};
  return sign({.serial = serial_of(serial),
               .issuer = ca_.certificate->subject,
               .subject = name(names_, "PCK Certificate"),
               .not_before = created(),
               .not_after = created() + kLeafLife,
               .key = key,
               .is_ca = false,
               .path_length = std::nullopt,
               .key_usage = kUsageLeaf,
               .extensions = {evidence::lab_marker(), std::move(sgx)},
               .authority_key_id = ca_.certificate->subject_key_id},
              ca_.key);
}

std::string Authority::chain_of(const Certificate& leaf) const { return pem(leaf) + ca_chain(); }
std::string Authority::ca_chain() const { return pem(*ca_.certificate) + pem(root()); }
std::string Authority::tcb_signer_chain() const { return pem(*tcb_signer_.certificate) + pem(root()); }

Bytes Authority::root_crl(UnixTime now, std::vector<crypto::x509::RevokedEntry> revoked) const {
  return issue_crl(root_, now, kRootCrlLife, std::move(revoked));
}
Bytes Authority::pck_crl(UnixTime now, std::vector<crypto::x509::RevokedEntry> revoked) const {
  return issue_crl(ca_, now, kPckCrlLife, std::move(revoked));
}

ByteArray<64> Authority::sign_document(std::string_view document) const {
  return to_array<64>(tcb_signer_.key.sign(as_bytes(document)));
}

}  // namespace cloister::lab
