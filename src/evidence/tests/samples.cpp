#include "samples.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/crypto/x509.hpp"
#include "support/support.hpp"

namespace cloister::evidence::test {
namespace {

namespace x509 = crypto::x509;
using cloister::test::SeededRandom;

class Filler {
 public:
  explicit Filler(std::uint64_t seed) : random_{seed} {}
  void operator()(auto&... fields) { (fill(fields), ...); }
  [[nodiscard]] Bytes bytes(std::size_t size) {
    Bytes out(size);
    random_.fill(out);
    return out;
  }

 private:
  template <std::size_t N>
  void fill(ByteArray<N>& field) {
    random_.fill(field);
  }
  template <std::integral T>
  void fill(T& field) {
    ByteArray<sizeof(T)> bytes;
    random_.fill(bytes);
    field = 0;
    for (const auto byte : bytes) field = static_cast<T>(static_cast<std::uint64_t>(field) << 8 | byte);
  }
  SeededRandom random_;
};

UnixTime day(int day_of_month) { return *from_civil(2026, 1, day_of_month, 12, 0, 0); }

std::vector<IsvTcbLevel> sample_isv_levels() {
  return {{4, day(2), TcbStatus::up_to_date, {}}, {2, day(1), TcbStatus::out_of_date, {"INTEL-SA-00001", "INTEL-SA-00002"}}};
}

TcbLevel sample_level(TeeType tee, std::uint32_t version, std::uint8_t svn, TcbStatus status) {
  TcbLevel out;
  for (std::size_t i = 0; i < 16; ++i) out.sgx[i].svn = static_cast<std::uint8_t>(svn + i);
  if (version > 2) {
    out.sgx[0].category = "BIOS";
    out.sgx[0].type = "Early Microcode Update";
  }
  out.pce_svn = 11;
  if (tee == TeeType::tdx) {
    out.tdx.emplace();
    (*out.tdx)[0] = {svn, "OS/VMM", "TDX Module"};
  }
  out.tcb_date = day(3);
  out.status = status;
  if (status != TcbStatus::up_to_date) out.advisory_ids = {"INTEL-SA-00003"};
  return out;
}

/// One authority that signs everything: parsing asks for no more.
struct Authority {
  crypto::EcPrivateKey key = crypto::EcPrivateKey::derive(crypto::Curve::p256, as_bytes("samples"), as_bytes("root"));
  Bytes name = x509::encode_name({.common_name = "Sample Root", .organization = "Samples", .locality = {}, .state = {}, .country = {}});

  [[nodiscard]] std::string certificate() const {
    const x509::CertificateSpec spec{.serial = {0x01}, .issuer = name, .subject = name, .not_before = day(1),
                                     .not_after = day(28), .key = key.public_key(), .is_ca = true, .path_length = {},
                                     .key_usage = 0x0600, .extensions = {}, .authority_key_id = {}};
    return codec::to_pem("CERTIFICATE", x509::issue_certificate(spec, key));
  }
  [[nodiscard]] Bytes crl(std::uint64_t number) const {
    const x509::CrlSpec spec{.issuer = name, .authority_key_id = Bytes(20, 0x11), .number = number, .this_update = day(1),
                             .next_update = day(28), .revoked = {{Bytes{0x02}, day(1)}}};
    return x509::issue_crl(spec, key);
  }
};

}  // namespace

SgxReport sample_sgx_report(std::uint64_t seed) {
  SgxReport r;
  Filler fill{seed};
  fill(r.cpu_svn, r.misc_select, r.reserved1, r.isv_ext_prod_id, r.attributes, r.mr_enclave, r.reserved2, r.mr_signer,
       r.reserved3, r.config_id, r.isv_prod_id, r.isv_svn, r.config_svn, r.reserved4, r.isv_family_id, r.report_data);
  return r;
}

QuoteBody sample_body(BodyType type) {
  if (type == BodyType::sgx) return sample_sgx_report(1);
  TdBody b;
  Filler fill{2};
  fill(b.tee_tcb_svn, b.mr_seam, b.mr_signer_seam, b.seam_attributes, b.td_attributes, b.xfam, b.mr_td, b.mr_config_id,
       b.mr_owner, b.mr_owner_config, b.rtmr[0], b.rtmr[1], b.rtmr[2], b.rtmr[3], b.report_data);
  if (type == BodyType::td10) return b;
  auto& v15 = b.v15.emplace();
  fill(v15.tee_tcb_svn2, v15.mr_service_td);
  if (type == BodyType::td15) return b;
  auto& ex = v15.ex.emplace();
  fill(ex.vm_id, ex.td_id, ex.device_info, ex.init_servtd_hash, ex.init_servtd_attributes, ex.init_cpu_svn,
       ex.init_tee_tcb_svn, ex.init_tee_fmspc, ex.current_servtd_hash, ex.current_servtd_attributes);
  return b;
}

QuoteContent sample_quote(std::uint16_t version, BodyType type) {
  QuoteContent q;
  Filler fill{3};
  q.header.version = version;
  q.header.tee = type == BodyType::sgx ? TeeType::sgx : TeeType::tdx;
  q.header.qe_vendor_id = kIntelQeVendorId;
  fill(q.header.qe_svn, q.header.pce_svn, q.header.user_data);
  q.body = sample_body(type);
  q.signature.qe_report = sample_sgx_report(4);
  fill(q.signature.signature, q.signature.attestation_key, q.signature.qe_report_signature);
  q.signature.qe_auth_data = fill.bytes(32);
  q.signature.certification = {CertificationType::pck_chain, fill.bytes(40)};
  return q;
}

TdReport sample_td_report() {
  TdReport r;
  Filler fill{5};
  auto& m = r.mac;
  fill(m.reserved_type, m.reserved1, m.cpu_svn, m.tee_tcb_info_hash, m.tee_info_hash, m.report_data, m.reserved2, m.mac);
  m.version = 1;
  auto& t = r.tcb;
  fill(t.valid, t.tee_tcb_svn, t.mr_seam, t.mr_signer_seam, t.attributes, t.tee_tcb_svn2, t.reserved, r.reserved);
  auto& i = r.info;
  fill(i.attributes, i.xfam, i.mr_td, i.mr_config_id, i.mr_owner, i.mr_owner_config, i.rtmr[0], i.rtmr[1], i.rtmr[2],
       i.rtmr[3], i.servtd_hash, i.reserved);
  return r;
}

PckExtension sample_pck_extension() {
  PckExtension e;
  Filler fill{6};
  fill(e.ppid, e.components, e.pce_svn, e.cpu_svn, e.pce_id, e.fmspc, e.platform_instance_id.emplace());
  e.components[0] = 0x80;  // an INTEGER that needs a leading zero
  e.sgx_type = SgxType::scalable;
  e.configuration = PckConfiguration{true, false, true};
  return e;
}

TcbInfo sample_tcb_info(std::uint32_t version, TeeType tee) {
  TcbInfo t;
  Filler fill{7};
  t.version = version;
  t.tee = tee;
  t.issue_date = day(5);
  t.next_update = day(25);
  fill(t.fmspc, t.pce_id);
  t.tcb_evaluation_data_number = 17;
  if (tee == TeeType::tdx) {
    auto& module = t.tdx_module.emplace();
    fill(module.mr_signer, module.attributes, module.attributes_mask);
    t.tdx_module_identities = {{"TDX_03", module, sample_isv_levels()}};
  }
  t.levels = {sample_level(tee, version, 9, TcbStatus::up_to_date), sample_level(tee, version, 3, TcbStatus::revoked)};
  return t;
}

QeIdentity sample_qe_identity() {
  QeIdentity q;
  Filler fill{8};
  q.id = EnclaveId::td_qe;
  q.issue_date = day(6);
  q.next_update = day(26);
  q.tcb_evaluation_data_number = 18;
  fill(q.misc_select, q.misc_select_mask, q.attributes, q.attributes_mask, q.mr_signer, q.isv_prod_id);
  q.levels = sample_isv_levels();
  return q;
}

QuoteCollateral sample_collateral() {
  const Authority authority;
  QuoteCollateral c;
  Filler fill{9};
  c.pck_crl_issuer_chain = c.tcb_info_issuer_chain = c.qe_identity_issuer_chain = authority.certificate();
  c.root_ca_crl = authority.crl(1);
  c.pck_crl = authority.crl(2);
  c.tcb_info = write_tcb_info_body(sample_tcb_info(3, TeeType::tdx));
  c.qe_identity = write_qe_identity_body(sample_qe_identity());
  fill(c.tcb_info_signature, c.qe_identity_signature);
  return c;
}

std::vector<QuoteFile> quote_files(const std::filesystem::path& vectors) {
  std::vector<std::filesystem::path> paths{
      vectors / "attestation/sgx-tdx-synthetic/intel-qvl/quote.dat",
      vectors / "attestation/sgx-tdx-synthetic/intel-qvl/tdx/quote.dat",
      vectors / "lab/sgx/fortanix_pcs_quote.bin",
      vectors / "lab/sgx/quote_pck_cert_chain.bin",
      vectors / "lab/tdx/cos113_tdx_quote_v4.dat",
  };
  for (const auto& entry : std::filesystem::directory_iterator(vectors / "attestation/dcap-cases/quotes")) {
    paths.push_back(entry.path());
  }
  std::vector<QuoteFile> out;
  for (const auto& path : paths) {
    out.push_back({path.filename().string(), cloister::test::read_file(path)});
  }
  return out;
}

}  // namespace cloister::evidence::test
