#include "cloister/lab_sgx/quoting.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"

namespace cloister::lab_sgx {
namespace {

namespace flag = evidence::sgx_flag;
using measure::SecInfo;

constexpr std::uint64_t kBase = 0x10000;
constexpr std::uint64_t kSize = 0x4000;
constexpr std::uint64_t kSsaOffset = 0x2000;
constexpr std::uint16_t kIsvProdId = 1;  // the QE's, as Intel numbers its enclaves
constexpr ByteArray<16> kAttributes{flag::kMode64 | flag::kProvisionKey, 0, 0, 0, 0, 0, 0, 0, 0xE7};
// MODE64 and the extended features may vary; everything else is fixed.
constexpr ByteArray<16> kAttributesMask{0xFB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

Result<void> did(std::string_view leaf, Code code) {
  if (code == Code::success) return {};
  return Error{Errc::permission_denied, "quoting enclave: " + std::string{leaf} + ": " + std::string{to_string(code)}};
}

/// Its one page of code, which says what it is: the lab's enclaves are modelled, their code runs natively.
PageBytes code_page() {
  PageBytes page{};
  std::ranges::copy(as_bytes("cloister/lab/1/SGX quoting enclave"), page.begin());
  return page;
}

Result<void> build(Cpu& cpu, EpcIndex first, unsigned processor, std::uint16_t isv_svn, const crypto::RsaPrivateKey& signer) {
  const auto tcs = tcs_page({.ossa = kSsaOffset});
  const auto code = code_page();
  const PageBytes ssa{};
  const auto rx = SecInfo::reg(true, false, true);
  const measure::EnclavePage pages[] = {{.offset = 0, .secinfo = SecInfo::tcs(), .contents = tcs},
                                        {.offset = 0x1000, .secinfo = rx, .contents = code},
                                        {.offset = kSsaOffset, .secinfo = SecInfo::reg(true, true, false), .contents = ssa}};
  CLOISTER_TRY(mrenclave, measure::mrenclave_of_pages(1, kSize, pages));
  CLOISTER_CHECK(did("ECREATE", cpu.ecreate(first, {.base = kBase, .size = kSize, .attributes = kAttributes})));
  for (EpcIndex i = 0; i < std::size(pages); ++i) {
    const auto& page = pages[i];
    CLOISTER_CHECK(did("EADD", cpu.eadd(first + 1 + i, first, kBase + page.offset, page.secinfo, page.contents)));
    for (std::size_t at = 0; at < measure::kSgxPageSize; at += measure::kSgxChunkSize) {
      CLOISTER_CHECK(did("EEXTEND", cpu.eextend(first + 1 + i, at)));
    }
  }
  evidence::Sigstruct sigstruct;
  sigstruct.attributes = kAttributes;
  sigstruct.attributes_mask.fill(0xFF);
  sigstruct.misc_mask = 0xFFFFFFFF;
  sigstruct.enclave_hash = mrenclave;
  sigstruct.isv_prod_id = kIsvProdId;
  sigstruct.isv_svn = isv_svn;
  measure::sign_sigstruct(sigstruct, signer);
  CLOISTER_CHECK(did("EINIT", cpu.einit(first, evidence::encode_sigstruct(sigstruct))));
  return did("EENTER", cpu.eenter(processor, first + 1));
}

/// The customary 00 01 02 … 1f.
Bytes auth_data() {
  Bytes data(32);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i);
  return data;
}

TargetInfo target_of(const Identity& own) {
  return {.mr_enclave = own.mr_enclave, .attributes = own.attributes, .config_svn = own.config_svn, .misc_select = own.misc_select,
          .config_id = own.config_id};
}

/// What is the same in all of its quotes: the header, the attestation key, and who vouches for that.
Result<evidence::QuoteContent> certified(const Cpu& cpu, unsigned processor, ByteView public_key, const Certification& certification) {
  Digest64 binding{};
  std::ranges::copy(crypto::sha256({public_key, auth_data()}), binding.begin());
  const auto own = cpu.ereport(processor, encode_target_info(target_of(*cpu.identity_on(processor))), binding);
  CLOISTER_CHECK(did("EREPORT", own.code()));
  evidence::QuoteContent quote;
  quote.header.version = 3;
  quote.header.qe_svn = own.value().body.isv_svn;
  quote.header.pce_svn = certification.pce_svn;
  quote.header.qe_vendor_id = evidence::kIntelQeVendorId;
  std::ranges::copy(certification.platform_id, quote.header.user_data.begin());
  auto& signature = quote.signature;
  signature.attestation_key = to_array<64>(public_key);
  signature.qe_report = own.value().body;
  signature.qe_report_signature = certification.sign(signature.qe_report);
  signature.qe_auth_data = auth_data();
  signature.certification = {.type = evidence::CertificationType::pck_chain, .data = to_bytes(certification.pck_chain)};
  return quote;
}

}  // namespace

Result<QuotingEnclave> QuotingEnclave::start(Cpu& cpu, EpcIndex first, unsigned processor, std::uint16_t isv_svn,
                                             const crypto::RsaPrivateKey& signer, const Certification& certification) {
  CLOISTER_CHECK(build(cpu, first, processor, isv_svn, signer));
  const auto key = cpu.egetkey(processor, encode_key_request({.name = KeyName::seal, .policy = key_policy::kMrSigner,
                                                              .isv_svn = isv_svn, .cpu_svn = cpu.cpu_svn()}));
  CLOISTER_CHECK(did("EGETKEY", key.code()));
  auto attestation_key =
      crypto::EcPrivateKey::derive(crypto::Curve::p256, key.value().reveal(), as_bytes("cloister/lab/1/SGX attestation key"));
  CLOISTER_TRY(form, certified(cpu, processor, attestation_key.public_key().xy(), certification));
  return QuotingEnclave{cpu, processor, std::move(attestation_key), std::move(form)};
}

TargetInfo QuotingEnclave::target() const {
  const auto* own = cpu_->identity_on(processor_);
  CLOISTER_ASSERT(own != nullptr);  // it was entered by `start`
  return target_of(*own);
}

Result<Bytes> QuotingEnclave::quote(const Report& report) const {
  const auto key = cpu_->egetkey(processor_, encode_key_request({.name = KeyName::report, .key_id = report.key_id}));
  CLOISTER_CHECK(did("EGETKEY", key.code()));
  if (!report_holds(report, key.value())) {
    return Error{Errc::permission_denied, "quoting enclave: the report is not for it, or not of this machine"};
  }
  auto quote = form_;
  quote.body = report.body;
  CLOISTER_TRY(signed_part, evidence::encode_signed_part(quote.header, quote.body));
  quote.signature.signature = to_array<64>(attestation_key_.sign(signed_part));
  return evidence::encode_quote(quote);
}

evidence::QeIdentity QuotingEnclave::identity() const {
  const auto* own = cpu_->identity_on(processor_);
  CLOISTER_ASSERT(own != nullptr);
  evidence::QeIdentity out;
  out.id = evidence::EnclaveId::qe;
  out.misc_select_mask = 0xFFFFFFFF;
  out.attributes_mask = kAttributesMask;
  for (std::size_t i = 0; i < out.attributes.size(); ++i) {
    out.attributes[i] = static_cast<std::uint8_t>(own->attributes[i] & kAttributesMask[i]);
  }
  out.mr_signer = own->mr_signer;
  out.isv_prod_id = own->isv_prod_id;
  return out;
}

}  // namespace cloister::lab_sgx
