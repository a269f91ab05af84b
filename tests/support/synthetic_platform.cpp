#include "support/synthetic_platform.hpp"

#include <algorithm>

#include "cloister/codec/der.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/lab_marker.hpp"

namespace cloister::test {
namespace {

namespace x509 = crypto::x509;
using crypto::EcPrivateKey;
using evidence::TeeType;

constexpr std::uint16_t kDigitalSignature = 0x8000;
constexpr std::uint16_t kAuthority = 0x0600;  // keyCertSign, cRLSign

UnixTime day(int year, int month, int d) { return *from_civil(year, month, d, 0, 0, 0); }

EcPrivateKey key(const std::string& name, crypto::Curve curve = crypto::Curve::p256) {
  return EcPrivateKey::derive(curve, as_bytes("synthetic platform"), as_bytes(name));
}

Bytes name(const std::string& common_name) {
  return x509::encode_name({.common_name = common_name, .organization = "Test", .locality = {}, .state = {}, .country = "US"});
}

Bytes serial(std::uint64_t number) {
  Bytes out;
  for (unsigned shift = 56; shift > 0; shift -= 8) {
    if (const auto byte = static_cast<std::uint8_t>(number >> shift); byte != 0 || !out.empty()) out.push_back(byte);
  }
  out.push_back(static_cast<std::uint8_t>(number));
  return out;
}

Bytes issue(const CertificatePlan& plan, bool lab) {
  const auto subject_key = key(plan.key, plan.curve);
  const auto issuer_key = key(plan.issuer_key);
  x509::CertificateSpec spec{.serial = serial(plan.serial),
                             .issuer = name(plan.issuer_name),
                             .subject = name(plan.common_name),
                             .not_before = plan.not_before,
                             .not_after = plan.not_after,
                             .key = subject_key.public_key(),
                             .is_ca = plan.is_ca,
                             .path_length = plan.path_length,
                             .key_usage = plan.key_usage,
                             .extensions = plan.extensions,
                             .authority_key_id = x509::key_id(issuer_key.public_key())};
  if (lab) spec.extensions.push_back(evidence::lab_marker());
  return x509::issue_certificate(spec, issuer_key);
}

Bytes issue(const CrlPlan& plan) {
  const auto issuer_key = key(plan.issuer_key);
  x509::CrlSpec spec{.issuer = name(plan.issuer_name),
                     .authority_key_id = x509::key_id(issuer_key.public_key()),
                     .number = 1,
                     .this_update = plan.this_update,
                     .next_update = plan.next_update,
                     .revoked = {}};
  for (const auto number : plan.revoked) spec.revoked.push_back({serial(number), plan.this_update});
  return x509::issue_crl(spec, issuer_key);
}

std::string pem(const Bytes& der) { return codec::to_pem("CERTIFICATE", der); }

ByteArray<64> sign(const std::string& key_name, ByteView message) { return to_array<64>(key(key_name).sign(message)); }

evidence::TcbLevel level(std::uint8_t svn, std::uint16_t pce, evidence::TcbStatus status, UnixTime date, bool tdx) {
  evidence::TcbLevel out;
  for (auto& component : out.sgx) component.svn = svn;
  out.pce_svn = pce;
  if (tdx) {
    out.tdx.emplace();
    for (auto& component : *out.tdx) component.svn = svn;
  }
  out.tcb_date = date;
  out.status = status;
  if (status != evidence::TcbStatus::up_to_date) out.advisory_ids = {"INTEL-SA-00001"};
  return out;
}

std::vector<evidence::IsvTcbLevel> isv_levels() {
  return {{.isv_svn = 4, .tcb_date = day(2025, 6, 1), .status = evidence::TcbStatus::up_to_date, .advisory_ids = {}},
          {.isv_svn = 2, .tcb_date = day(2024, 6, 1), .status = evidence::TcbStatus::out_of_date, .advisory_ids = {"INTEL-SA-00002"}},
          {.isv_svn = 1, .tcb_date = day(2023, 6, 1), .status = evidence::TcbStatus::revoked, .advisory_ids = {}}};
}

evidence::TcbInfo tcb_info_of(TeeType tee) {
  const bool tdx = tee == TeeType::tdx;
  evidence::TcbInfo out;
  out.tee = tee;
  out.issue_date = day(2026, 1, 10);
  out.next_update = day(2026, 2, 9);
  out.fmspc = {0x90, 0xC0, 0x6F, 0, 0, 0};
  out.tcb_evaluation_data_number = 17;
  out.levels = {level(5, 11, evidence::TcbStatus::up_to_date, day(2025, 5, 1), tdx),
                level(4, 10, evidence::TcbStatus::sw_hardening_needed, day(2024, 5, 1), tdx),
                level(3, 9, evidence::TcbStatus::out_of_date, day(2023, 5, 1), tdx)};
  if (!tdx) return out;
  out.tdx_module = evidence::TdxModule{.mr_signer = {}, .attributes = {}, .attributes_mask = {}};
  out.tdx_module->attributes_mask.fill(0xFF);
  out.tdx_module_identities = {{.id = "TDX_01", .module = *out.tdx_module, .levels = isv_levels()}};
  return out;
}

evidence::QeIdentity qe_identity_of(TeeType tee) {
  evidence::QeIdentity out;
  out.id = tee == TeeType::tdx ? evidence::EnclaveId::td_qe : evidence::EnclaveId::qe;
  out.issue_date = day(2026, 1, 11);
  out.next_update = day(2026, 2, 10);
  out.tcb_evaluation_data_number = 17;
  out.misc_select_mask = 0xFFFFFFFF;
  out.attributes = {0x11};
  out.attributes_mask = {0xFB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  out.mr_signer.fill(0xDC);
  out.isv_prod_id = 2;
  out.levels = isv_levels();
  return out;
}

evidence::QuoteBody body_of(TeeType tee, std::uint16_t version) {
  if (tee == TeeType::sgx) {
    evidence::SgxReport enclave;
    enclave.attributes = {0x05};
    enclave.mr_enclave.fill(0xE1);
    enclave.mr_signer.fill(0x51);
    enclave.isv_prod_id = 7;
    enclave.isv_svn = 3;
    enclave.report_data.fill(0xDA);
    return enclave;
  }
  evidence::TdBody td;
  td.tee_tcb_svn.fill(5);
  td.tee_tcb_svn[0] = 4;
  td.tee_tcb_svn[1] = 1;
  td.td_attributes = std::uint64_t{1} << 28;
  td.xfam = 0xE7;
  td.mr_td.fill(0x7D);
  td.report_data.fill(0xDA);
  if (version == 5) td.v15 = evidence::TdBody15{.tee_tcb_svn2 = td.tee_tcb_svn, .mr_service_td = {}, .ex = std::nullopt};
  return td;
}

}  // namespace

UnixTime SyntheticPlatform::now() { return day(2026, 1, 20); }

SyntheticPlatform::SyntheticPlatform(TeeType tee, std::uint16_t version)
    : tcb_info{tcb_info_of(tee)}, qe_identity{qe_identity_of(tee)}, body{body_of(tee, version)} {
  const auto plan = [](std::string common_name, std::string key_name, std::uint64_t number, bool ca) {
    return CertificatePlan{.common_name = std::move(common_name),
                           .key = std::move(key_name),
                           .curve = crypto::Curve::p256,
                           .issuer_name = "Test Root CA",
                           .issuer_key = "root",
                           .serial = number,
                           .not_before = day(2024, 1, 1),
                           .not_after = day(2034, 1, 1),
                           .is_ca = ca,
                           .path_length = std::nullopt,
                           .key_usage = ca ? kAuthority : kDigitalSignature,
                           .extensions = {}};
  };
  root = plan("Test Root CA", "root", 1, true);
  authority = plan("Test PCK Platform CA", "authority", 2, true);
  authority.path_length = 0;
  pck = plan("Test PCK Certificate", "pck", 3, false);
  pck.issuer_name = "Test PCK Platform CA";
  pck.issuer_key = "authority";
  pck.not_before = day(2025, 1, 1);
  tcb_signer = plan("Test TCB Signing", "tcb-signer", 4, false);
  qe_signer = plan("Test QE Identity Signing", "qe-signer", 5, false);
  root_crl = {"Test Root CA", "root", day(2026, 1, 1), day(2027, 1, 1), {100}};
  pck_crl = {"Test PCK Platform CA", "authority", day(2026, 1, 5), day(2026, 2, 5), {101, 102}};

  platform.emplace();
  platform->components.fill(5);
  platform->pce_svn = 11;
  platform->cpu_svn.fill(5);
  platform->ppid.fill(0x99);
  platform->fmspc = tcb_info.fmspc;

  header = {.version = version, .tee = tee, .qe_svn = 0, .pce_svn = 0, .qe_vendor_id = evidence::kIntelQeVendorId, .user_data = {}};
  qe_report.attributes = {0x15};
  qe_report.mr_signer = qe_identity.mr_signer;
  qe_report.isv_prod_id = qe_identity.isv_prod_id;
  qe_report.isv_svn = 4;
  qe_auth_data = Bytes(32, 0xA7);
}

void SyntheticPlatform::make_lab() {
  lab = true;
  const std::string lab_root = "Test Root CA - " + std::string{evidence::kLabRootName};
  root.common_name = lab_root;
  for (auto* plan : {&root, &authority, &tcb_signer, &qe_signer}) plan->issuer_name = lab_root;
  root_crl.issuer_name = lab_root;
}

std::string SyntheticPlatform::pck_chain() const {
  auto leaf = pck;
  if (platform) {
    leaf.extensions.push_back({codec::der::oid(evidence::kPckExtensionOid), false, evidence::encode_pck_extension(*platform)});
  }
  return pem(issue(leaf, lab)) + pem(issue(authority, lab)) + (with_root ? pem(issue(root, lab)) : "");
}

SyntheticEvidence SyntheticPlatform::build() const {
  const auto root_der = issue(root, lab);
  const auto signing_chain = [&](const CertificatePlan& signer) { return pem(issue(signer, lab)) + (with_root ? pem(root_der) : ""); };

  evidence::QuoteCollateral collateral;
  collateral.pck_crl_issuer_chain = pem(issue(authority, lab)) + pem(root_der);
  collateral.root_ca_crl = issue(root_crl);
  collateral.pck_crl = issue(pck_crl);
  collateral.tcb_info_issuer_chain = signing_chain(tcb_signer);
  collateral.tcb_info = evidence::write_tcb_info_body(tcb_info);
  collateral.tcb_info_signature = sign(tcb_info_signed_by, as_bytes(collateral.tcb_info));
  collateral.qe_identity_issuer_chain = signing_chain(qe_signer);
  collateral.qe_identity = evidence::write_qe_identity_body(qe_identity);
  collateral.qe_identity_signature = sign(qe_identity_signed_by, as_bytes(collateral.qe_identity));

  evidence::QuoteSignature signature;
  signature.attestation_key = attestation_point.value_or(to_array<64>(key(attestation_key).public_key().xy()));
  signature.qe_auth_data = qe_auth_data;
  signature.qe_report = qe_report;
  signature.qe_report.report_data = {};
  const auto covered = crypto::sha256({ByteView{signature.attestation_key}, ByteView{qe_auth_data}});
  std::ranges::copy(covered, signature.qe_report.report_data.begin());
  if (qe_report_data) signature.qe_report.report_data = *qe_report_data;
  signature.qe_report_signature = sign(qe_report_signed_by, evidence::encode_sgx_report(signature.qe_report));
  signature.signature = sign(quote_signed_by, *evidence::encode_signed_part(header, body));
  signature.certification = certification.value_or(
      evidence::CertificationData{evidence::CertificationType::pck_chain, to_bytes(pck_chain())});

  return {*evidence::encode_quote({header, body, signature}), std::move(collateral), *x509::parse_certificate(root_der)};
}

}  // namespace cloister::test
