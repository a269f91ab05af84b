#include "support/synthetic_snp.hpp"

#include <algorithm>

#include "cloister/evidence/lab_marker.hpp"

namespace cloister::test {
namespace {

namespace x509 = crypto::x509;
using crypto::Curve;
using crypto::EcPrivateKey;
using evidence::SnpProduct;
using evidence::VekKind;

UnixTime day(int year, int month, int d) { return *from_civil(year, month, d, 0, 0, 0); }

EcPrivateKey key(const std::string& name, Curve curve = Curve::p384) {
  return EcPrivateKey::derive(curve, as_bytes("synthetic snp"), as_bytes(name));
}

Bytes name(const std::string& common_name) {
  return x509::encode_name({.common_name = common_name, .organization = "Test", .locality = {}, .state = {}, .country = "US"});
}

/// Contents of an INTEGER below 128.
Bytes serial(std::uint64_t number) {
  CLOISTER_ASSERT(number < 0x80);
  return {static_cast<std::uint8_t>(number)};
}

Bytes issue(const CertificatePlan& plan, bool lab, Curve curve = Curve::p384) {
  const auto issuer_key = key(plan.issuer_key);
  x509::CertificateSpec spec{.serial = serial(plan.serial),
                             .issuer = name(plan.issuer_name),
                             .subject = name(plan.common_name),
                             .not_before = plan.not_before,
                             .not_after = plan.not_after,
                             .key = key(plan.key, curve).public_key(),
                             .is_ca = plan.is_ca,
                             .path_length = plan.path_length,
                             .key_usage = plan.key_usage,
                             .extensions = plan.extensions,
                             .authority_key_id = x509::key_id(issuer_key.public_key())};
  if (lab) spec.extensions.push_back(evidence::lab_marker());
  return x509::issue_certificate(spec, issuer_key);
}

evidence::SnpCpuid cpuid_of(SnpProduct product) {
  switch (product) {
    case SnpProduct::milan: return {.family = 0x19, .model = 0x01, .stepping = 1};
    case SnpProduct::genoa: return {.family = 0x19, .model = 0x11, .stepping = 1};
    case SnpProduct::turin: return {.family = 0x1A, .model = 0x02, .stepping = 1};
    case SnpProduct::venice: return {.family = 0x1A, .model = 0x50, .stepping = 0};
  }
  return {};
}

}  // namespace

UnixTime SyntheticSnp::now() { return day(2026, 1, 20); }

SyntheticSnp::SyntheticSnp(SnpProduct product, VekKind kind, std::uint32_t version) {
  const bool loaded = kind == VekKind::vlek;
  const auto plan = [](std::string common_name, std::string key_name, std::uint64_t number) {
    return CertificatePlan{.common_name = std::move(common_name),
                           .key = std::move(key_name),
                           .issuer_name = "Test ARK",
                           .issuer_key = "root",
                           .serial = number,
                           .not_before = day(2024, 1, 1),
                           .not_after = day(2034, 1, 1),
                           .is_ca = true,
                           .path_length = std::nullopt,
                           .key_usage = 0x0600,  // keyCertSign, cRLSign
                           .extensions = {}};
  };
  root = plan("Test ARK", "root", 1);
  authority = plan(loaded ? "Test ASVK" : "Test ASK", "authority", 2);
  authority.path_length = 0;
  vek = plan(loaded ? "Test VLEK" : "Test VCEK", "vek", 0);
  vek.issuer_name = authority.common_name;
  vek.issuer_key = "authority";
  vek.not_before = day(2025, 1, 1);
  vek.not_after = day(2032, 1, 1);
  vek.is_ca = false;
  vek.key_usage = 0x8000;
  crl = CrlPlan{"Test ARK", "root", day(2026, 1, 1), day(2027, 1, 1), {100}};

  const bool fmc = evidence::has_fmc(product);
  extension.emplace();
  extension->struct_version = fmc ? 1 : 0;
  extension->product_name = std::string{evidence::to_string(product)} + (product == SnpProduct::milan && !loaded ? "-B0" : "");
  extension->bootloader = 4;
  extension->snp = 24;
  extension->microcode = 219;
  if (fmc) extension->fmc = 1;
  if (!fmc) extension->spl4 = 0;
  if (loaded) extension->csp_id = "CN=cc.test";
  if (!loaded) extension->hwid = Bytes(fmc ? 8 : 64, 0xC1);

  body.version = version;
  body.cpuid = version >= 3 ? std::optional{cpuid_of(product)} : std::nullopt;
  body.mitigations = version >= 5 ? std::optional{evidence::SnpMitigations{.launch = 3, .current = 7}} : std::nullopt;
  body.policy = evidence::snp_policy::kMustBeOne | evidence::snp_policy::kSmt;
  body.guest_svn = 2;
  body.platform_info = evidence::snp_platform::kSmt | evidence::snp_platform::kEcc;
  body.signing_key = kind;
  body.reported_tcb = body.current_tcb = body.committed_tcb = body.launch_tcb = extension->tcb_version();
  body.current_version = body.committed_version = {.build = 40, .minor = 55, .major = 1};
  if (extension->hwid) std::ranges::copy(*extension->hwid, body.chip_id.begin());
  body.report_data.fill(0xDA);
  body.measurement.fill(0x3E);
  body.host_data.fill(0x4D);
  body.id_key_digest.fill(0x1D);
  body.author_key_digest.fill(0xA4);
  body.family_id.fill(0xFA);
  body.image_id.fill(0x11);
}

void SyntheticSnp::make_lab() {
  lab = true;
  const std::string lab_root = "Test ARK - " + std::string{evidence::kLabRootName};
  root.common_name = root.issuer_name = authority.issuer_name = lab_root;
  if (crl) crl->issuer_name = lab_root;
}

SyntheticSnpEvidence SyntheticSnp::build() const {
  SyntheticSnpEvidence out;
  out.root = *x509::parse_certificate(issue(root, lab));
  auto leaf = vek;
  if (extension) std::ranges::move(evidence::encode_vek_extension(*extension, hwid_form), std::back_inserter(leaf.extensions));
  out.endorsements.certificates = {*x509::parse_certificate(issue(leaf, lab, vek_curve)),
                                   *x509::parse_certificate(issue(authority, lab))};
  if (with_root) out.endorsements.certificates.push_back(out.root);
  if (crl) {
    const auto issuer_key = key(crl->issuer_key);
    x509::CrlSpec spec{.issuer = name(crl->issuer_name),
                       .authority_key_id = x509::key_id(issuer_key.public_key()),
                       .number = 1,
                       .this_update = crl->this_update,
                       .next_update = crl->next_update,
                       .revoked = {}};
    for (const auto number : crl->revoked) spec.revoked.push_back({serial(number), crl->this_update});
    out.endorsements.crls.push_back(*x509::parse_crl(x509::issue_crl(spec, issuer_key)));
  }
  const auto signed_part = *evidence::encode_snp_body(body);
  const auto signature = to_array<96>(key(report_signed_by).sign(signed_part));
  const auto report = evidence::encode_snp_report(signed_part, signature);
  out.report = {report.begin(), report.end()};
  return out;
}

}  // namespace cloister::test
