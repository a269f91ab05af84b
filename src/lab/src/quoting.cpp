#include "quoting.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/quote.hpp"

namespace cloister::lab {
namespace {

using evidence::SgxReport;

constexpr std::uint16_t kIsvProdId = 2;  // the TD QE's, as Intel numbers its enclaves
constexpr ByteArray<16> kAttributes{evidence::sgx_flag::kInit | evidence::sgx_flag::kMode64 |
                                        evidence::sgx_flag::kProvisionKey,
                                    0, 0, 0, 0, 0, 0, 0, 0xE7};
// MODE64 and the extended features may vary; everything else is fixed.
constexpr ByteArray<16> kAttributesMask{0xFB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

Digest32 mr_enclave() { return crypto::sha256(as_bytes("cloister/lab/1/TD quoting enclave")); }
Digest32 mr_signer() { return crypto::sha256(as_bytes("cloister/lab/1/signer of enclaves")); }

/// The customary 00 01 02 … 1f.
Bytes auth_data() {
  Bytes data(32);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i);
  return data;
}

/// The TD was launched here and was not migrated: what it began with is what it has.
evidence::TdBody15Ex extended_body_of(const evidence::TdReport& report) {
  evidence::TdBody15Ex ex;
  ex.init_servtd_hash = report.info.servtd_hash;
  ex.init_cpu_svn = report.mac.cpu_svn;
  ex.init_tee_tcb_svn = report.tcb.tee_tcb_svn;
  ex.current_servtd_hash = report.info.servtd_hash;
  return ex;
}

evidence::TdBody body_of(const evidence::TdReport& report, QuoteFormat format) {
  evidence::TdBody body;
  body.tee_tcb_svn = report.tcb.tee_tcb_svn;
  body.mr_seam = report.tcb.mr_seam;
  body.mr_signer_seam = report.tcb.mr_signer_seam;
  body.seam_attributes = report.tcb.attributes;
  body.td_attributes = report.info.attributes;
  body.xfam = report.info.xfam;
  body.mr_td = report.info.mr_td;
  body.mr_config_id = report.info.mr_config_id;
  body.mr_owner = report.info.mr_owner;
  body.mr_owner_config = report.info.mr_owner_config;
  body.rtmr = report.info.rtmr;
  body.report_data = report.mac.report_data;
  if (format == QuoteFormat::v4 || format == QuoteFormat::v5_td10) return body;
  body.v15 = evidence::TdBody15{.tee_tcb_svn2 = report.tcb.tee_tcb_svn2,
                                .mr_service_td = report.info.servtd_hash,
                                .ex = std::nullopt};
  if (format == QuoteFormat::v5_td15_ex) body.v15->ex = extended_body_of(report);
  return body;
}

/// REPORTDATA of the QE's report: SHA-256(attestation key || authentication data), then 32 zeros.
Digest64 binding_of(ByteView attestation_key, ByteView auth) {
  Digest64 data{};
  std::ranges::copy(crypto::sha256({attestation_key, auth}), data.begin());
  return data;
}

}  // namespace

QuotingEnclave::QuotingEnclave(const Seed& seed, const MachineTcb& tcb, crypto::EcPrivateKey pck_key,
                               std::string pck_chain)
    : attestation_key_{seed.key("QE attestation key")},
      pck_key_{std::move(pck_key)},
      pck_chain_{std::move(pck_chain)},
      platform_id_{seed.identity<16>("QE platform id")},
      cpu_svn_{tcb.sgx_components},
      isv_svn_{tcb.qe_isvsvn} {}

SgxReport QuotingEnclave::own_report() const {
  SgxReport report;
  report.cpu_svn = cpu_svn_;
  report.attributes = kAttributes;
  report.mr_enclave = mr_enclave();
  report.mr_signer = mr_signer();
  report.isv_prod_id = kIsvProdId;
  report.isv_svn = isv_svn_;
  report.report_data = binding_of(attestation_key_.public_key().xy(), auth_data());
  return report;
}

Bytes QuotingEnclave::quote(const evidence::TdReport& report, QuoteFormat format) const {
  evidence::QuoteContent quote;
  quote.header.version = format == QuoteFormat::v4 ? 4 : 5;
  quote.header.tee = evidence::TeeType::tdx;
  quote.header.qe_vendor_id = evidence::kIntelQeVendorId;
  std::ranges::copy(platform_id_, quote.header.user_data.begin());
  quote.body = body_of(report, format);

  auto& signature = quote.signature;
  signature.attestation_key = to_array<64>(attestation_key_.public_key().xy());
  signature.qe_report = own_report();
  signature.qe_report_signature = to_array<64>(pck_key_.sign(evidence::encode_sgx_report(signature.qe_report)));
  signature.qe_auth_data = auth_data();
  signature.certification = {.type = evidence::CertificationType::pck_chain, .data = to_bytes(pck_chain_)};

  const auto signed_part = evidence::encode_signed_part(quote.header, quote.body);
  CLOISTER_ASSERT(signed_part.ok());  // versions and bodies of our own choice
  signature.signature = to_array<64>(attestation_key_.sign(*signed_part));
  auto encoded = evidence::encode_quote(quote);
  CLOISTER_ASSERT(encoded.ok());
  return std::move(encoded).value();
}

evidence::QeIdentity QuotingEnclave::identity() const {
  evidence::QeIdentity identity;
  identity.id = evidence::EnclaveId::td_qe;
  identity.misc_select_mask = 0xFFFFFFFF;
  identity.attributes_mask = kAttributesMask;
  for (std::size_t i = 0; i < kAttributes.size(); ++i) {
    identity.attributes[i] = static_cast<std::uint8_t>(kAttributes[i] & kAttributesMask[i]);
  }
  identity.mr_signer = mr_signer();
  identity.isv_prod_id = kIsvProdId;
  return identity;
}

}  // namespace cloister::lab
