#include "cloister/lab_snp/authority.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::lab_snp {
namespace {

namespace x509 = crypto::x509;
using evidence::SnpProduct;
using evidence::VekKind;
using x509::CertificatePtr;

constexpr std::array kProducts{SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin};

constexpr std::chrono::days kAuthorityLife{25 * 365};
constexpr std::chrono::days kVcekLife{7 * 365};
constexpr std::chrono::days kVlekLife{365};
constexpr std::chrono::days kCrlLife{365};

// RFC 5280 section 4.2.1.3, as x509::CertificateSpec has them.
constexpr std::uint16_t kUsageCa = 0x0600;    // keyCertSign, cRLSign
constexpr std::uint16_t kUsageLeaf = 0x8000;  // digitalSignature
constexpr std::uint16_t kUsageNone = 0;       // AMD's VEKs have AMD's extensions alone

constexpr std::string_view kSeedDomain = "cloister/lab/1/SNP/";
constexpr std::string_view kPrivateKey = "PRIVATE KEY";
constexpr std::string_view kCspId = "CN=LAB ONLY - NOT HARDWARE";
constexpr std::size_t kShortHwid = 8;

std::string_view use_of(VekKind kind) { return kind == VekKind::vlek ? "VLEK" : "VCEK"; }

Bytes name(Names names, const std::string& common_name) {
  x509::NameSpec spec;
  const bool vendor = names == Names::vendor;
  spec.common_name = vendor ? common_name : std::string{evidence::kLabRootName} + ' ' + common_name;
  spec.organization = vendor ? "Advanced Micro Devices" : "Cloister lab";
  if (vendor) {
    spec.locality = "Santa Clara";
    spec.state = "CA";
    spec.country = "US";
    spec.organizational_unit = "Engineering";
  }
  return x509::encode_name(spec);
}

/// Where AMD's authorities say that their list is: verifiers of AMD's profile compare.
x509::Extension crl_location(SnpProduct product, VekKind kind) {
  namespace der = codec::der;
  const auto address = "https://kdsintf.amd.com/" + std::string{kind == VekKind::vlek ? "vlek" : "vcek"} + "/v1/" +
                       std::string{evidence::to_string(product)} + "/crl";
  const auto full_name = der::element(der::tag::context(0, true), der::element(der::tag::context(6, false), as_bytes(address)));
  const auto point = der::sequence({der::element(der::tag::context(0, true), full_name)});
  return {.oid = der::oid("2.5.29.31"), .critical = false, .value = der::sequence({point})};
}

CertificatePtr sign(const x509::CertificateSpec& spec, const crypto::RsaPssKey& issuer) {
  auto certificate = x509::parse_certificate(x509::issue_certificate(spec, issuer));
  CLOISTER_ASSERT(certificate.ok());  // our own
  return std::move(certificate).value();
}

/// The certificates of one product's authorities.
struct Hierarchy {
  CertificatePtr ark;
  CertificatePtr ask;
  CertificatePtr asvk;
};

}  // namespace

struct Authority::State {
  crypto::Secret<32> seed;
  AuthorityKeys keys;
  UnixTime created;
  Names names;
  std::array<Hierarchy, kProducts.size()> hierarchies;

  State(crypto::Secret<32> s, AuthorityKeys k, UnixTime at, Names n)
      : seed{std::move(s)}, keys{std::move(k)}, created{std::chrono::floor<std::chrono::seconds>(at)}, names{n} {
    for (const auto product : kProducts) hierarchies[index(product)] = issue(product);
  }

  static std::size_t index(SnpProduct product) {
    const auto found = std::ranges::find(kProducts, product);
    CLOISTER_ASSERT(found != kProducts.end());
    return static_cast<std::size_t>(found - kProducts.begin());
  }
  [[nodiscard]] const Hierarchy& of(SnpProduct product) const { return hierarchies[index(product)]; }

  [[nodiscard]] crypto::Secret<32> derived(const std::string& use) const {
    return crypto::hkdf32({}, seed.reveal(), as_bytes(std::string{kSeedDomain} + use));
  }
  /// Positive and without a leading zero, whatever was derived.
  [[nodiscard]] Bytes serial(const std::string& use) const {
    const auto secret = derived(use + " serial");
    auto out = to_array<16>(secret.reveal().first<16>());
    out[0] = static_cast<std::uint8_t>((out[0] & 0x3F) | 0x40);
    return to_bytes(out);
  }
  [[nodiscard]] CertificatePtr authority(const std::string& role, const crypto::RsaPssKey& key, const Bytes& issuer_name,
                                         unsigned path_length, const x509::Extension& crl) const {
    std::vector<x509::Extension> extensions{evidence::lab_marker()};
    if (names == Names::vendor) extensions.push_back(crl);
    return sign({.serial = serial(role),
                 .issuer = issuer_name,
                 .subject = name(names, role),
                 .not_before = created,
                 .not_after = created + kAuthorityLife,
                 .key = key.public_key(),
                 .is_ca = true,
                 .path_length = path_length,
                 .key_usage = kUsageCa,
                 .extensions = std::move(extensions),
                 .authority_key_id = x509::key_id(keys.ark.public_key())},
                keys.ark);
  }
  [[nodiscard]] Hierarchy issue(SnpProduct product) const {
    const std::string of{evidence::to_string(product)};
    const auto root_name = name(names, "ARK-" + of);
    const auto list = crl_location(product, VekKind::vcek);
    return {.ark = authority("ARK-" + of, keys.ark, root_name, 1, list),
            .ask = authority("SEV-" + of, keys.ask, root_name, 0, list),
            .asvk = authority("SEV-VLEK-" + of, keys.asvk, root_name, 0, crl_location(product, VekKind::vlek))};
  }
};

AuthorityKeys AuthorityKeys::generate(unsigned bits) {
  auto ark = crypto::RsaPssKey::generate(bits);
  auto ask = crypto::RsaPssKey::generate(bits);
  return {std::move(ark), std::move(ask), crypto::RsaPssKey::generate(bits)};
}

crypto::SecretBytes write_authority_keys(const AuthorityKeys& keys) {
  std::string text;
  for (const auto* key : {&keys.ark, &keys.ask, &keys.asvk}) {
    text += codec::to_pem(kPrivateKey, key->to_pkcs8().reveal());
  }
  return crypto::SecretBytes::copy_of(as_bytes(text));
}

Result<AuthorityKeys> parse_authority_keys(std::string_view pem) {
  auto blocks = codec::parse_pem(pem);
  if (!blocks) return Error{Errc::key_invalid, "lab SNP authority: " + blocks.error().detail()};
  const auto is_key = [](const codec::PemBlock& block) { return block.label == kPrivateKey; };
  if (blocks->size() != 3 || !std::ranges::all_of(*blocks, is_key)) {
    return Error{Errc::key_invalid, "lab SNP authority: three private keys expected"};
  }
  CLOISTER_TRY(ark, crypto::RsaPssKey::from_pkcs8((*blocks)[0].der));
  CLOISTER_TRY(ask, crypto::RsaPssKey::from_pkcs8((*blocks)[1].der));
  CLOISTER_TRY(asvk, crypto::RsaPssKey::from_pkcs8((*blocks)[2].der));
  for (auto& block : *blocks) crypto::cleanse(block.der);
  return AuthorityKeys{std::move(ark), std::move(ask), std::move(asvk)};
}

Authority::Authority(std::unique_ptr<const State> state) : state_{std::move(state)} {}
Authority::Authority(Authority&&) noexcept = default;
Authority& Authority::operator=(Authority&&) noexcept = default;
Authority::~Authority() = default;

Authority Authority::create(crypto::Secret<32> seed, AuthorityKeys keys, UnixTime created, Names names) {
  return Authority{std::make_unique<const State>(std::move(seed), std::move(keys), created, names)};
}

const CertificatePtr& Authority::root(SnpProduct product) const { return state_->of(product).ark; }

const CertificatePtr& Authority::issuer(SnpProduct product, VekKind kind) const {
  const auto& of = state_->of(product);
  return kind == VekKind::vlek ? of.asvk : of.ask;
}

std::string Authority::chain(SnpProduct product, VekKind kind) const {
  return codec::to_pem("CERTIFICATE", issuer(product, kind)->der) + codec::to_pem("CERTIFICATE", root(product)->der);
}

Bytes Authority::crl(SnpProduct product, UnixTime now, std::vector<x509::RevokedEntry> revoked) const {
  const auto this_update = std::chrono::floor<std::chrono::seconds>(now);
  return x509::issue_crl({.issuer = root(product)->subject,
                          .authority_key_id = root(product)->subject_key_id,
                          .number = static_cast<std::uint64_t>(this_update.time_since_epoch().count()),  // grows with time
                          .this_update = this_update,
                          .next_update = this_update + kCrlLife,
                          .revoked = std::move(revoked)},
                         state_->keys.ark);
}

Digest64 Authority::chip_id(SnpProduct product) const {
  const std::string of{evidence::to_string(product)};
  const auto low = state_->derived("chip id 0 " + of);
  const auto high = state_->derived("chip id 1 " + of);
  Digest64 out{};
  if (evidence::has_fmc(product)) {
    std::ranges::copy(low.reveal().first<kShortHwid>(), out.begin());
    return out;
  }
  std::ranges::copy(low.reveal(), out.begin());
  std::ranges::copy(high.reveal(), out.begin() + 32);
  return out;
}

TcbSecret Authority::secret(SnpProduct product, VekKind kind, const evidence::SnpTcb& tcb) const {
  const auto use = std::string{evidence::to_string(product)} + (kind == VekKind::vlek ? " loaded secret" : " chip secret");
  return TcbSecret::at(state_->derived(use), evidence::encode_snp_tcb(tcb, product));
}

CertificatePtr Authority::issue_vek(SnpProduct product, VekKind kind, const evidence::SnpTcb& tcb) const {
  const bool loaded = kind == VekKind::vlek;
  const bool fmc = evidence::has_fmc(product);
  const auto& by = issuer(product, kind);
  const auto version = evidence::encode_snp_tcb(tcb, product);
  const auto chip = chip_id(product);

  evidence::VekExtension extension;
  extension.struct_version = fmc ? 1 : 0;
  extension.product_name = std::string{evidence::to_string(product)} + (product == SnpProduct::milan && !loaded ? "-B0" : "");
  extension.bootloader = tcb.bootloader;
  extension.tee = tcb.tee;
  extension.snp = tcb.snp;
  extension.microcode = tcb.microcode;
  if (fmc) extension.fmc = tcb.fmc.value_or(0);
  if (!fmc) extension.spl4 = 0;
  if (loaded) extension.csp_id = std::string{kCspId};
  if (!loaded) extension.hwid = to_bytes(ByteView{chip}.first(fmc ? kShortHwid : chip.size()));
  auto extensions = evidence::encode_vek_extension(extension, fmc ? evidence::HwidForm::octet_string : evidence::HwidForm::raw);
  const bool vendor = state_->names == Names::vendor;
  if (!vendor) extensions.push_back(evidence::lab_marker());

  const auto key = secret(product, kind, tcb).signing_key(use_of(kind));
  const auto serial_use = std::string{evidence::to_string(product)} + ' ' + std::string{use_of(kind)} + ' ' + codec::to_hex(version);
  return sign({.serial = state_->serial(serial_use),
               .issuer = by->subject,
               .subject = name(state_->names, "SEV-" + std::string{use_of(kind)}),
               .not_before = state_->created,
               .not_after = state_->created + (loaded ? kVlekLife : kVcekLife),
               .key = key.public_key(),
               .is_ca = false,
               .path_length = std::nullopt,
               .key_usage = vendor ? kUsageNone : kUsageLeaf,
               .extensions = std::move(extensions),
               .authority_key_id = by->subject_key_id},
              loaded ? state_->keys.asvk : state_->keys.ask);
}

evidence::SnpEndorsements Authority::endorsements(SnpProduct product, VekKind kind, const evidence::SnpTcb& tcb, UnixTime now) const {
  evidence::SnpEndorsements out;
  out.certificates = {issue_vek(product, kind, tcb), issuer(product, kind), root(product)};
  out.crls.push_back(x509::parse_crl(crl(product, now)).value());
  return out;
}

Result<ByteArray<evidence::kSnpReportSize>> sign_report(const evidence::SnpReportBody& body, const TcbSecret& secret) {
  CLOISTER_TRY(part, evidence::encode_snp_body(body));
  if (!body.signing_key) return evidence::encode_snp_report(part, {});
  return evidence::encode_snp_report(part, to_array<96>(secret.signing_key(use_of(*body.signing_key)).sign(part)));
}

}  // namespace cloister::lab_snp
