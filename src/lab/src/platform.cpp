#include "cloister/lab/platform.hpp"

#include "authority.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "quoting.hpp"

namespace cloister::lab {
namespace {

constexpr std::chrono::days kDocumentLife{30};

/// Of the seed. The provisioning certification enclave's keys follow from the TCB that it runs on.
std::string pck_use(const MachineTcb& tcb) {
  return "PCK " + codec::to_hex(tcb.sgx_components) + " " + std::to_string(tcb.pcesvn);
}

evidence::PckExtension pck_extension(const Seed& seed, const MachineTcb& tcb) {
  evidence::PckExtension extension;
  extension.ppid = seed.identity<16>("PPID");
  extension.components = tcb.sgx_components;
  extension.pce_svn = tcb.pcesvn;
  extension.cpu_svn = tcb.sgx_components;
  extension.fmspc = seed.identity<6>("FMSPC");
  extension.sgx_type = evidence::SgxType::scalable;
  extension.platform_instance_id = seed.identity<16>("platform instance");
  extension.configuration = evidence::PckConfiguration{.dynamic_platform = true, .cached_keys = true, .smt_enabled = true};
  return extension;
}

tdx::ModuleInfo module_info(const MachineTcb& tcb) {
  tdx::ModuleInfo info;
  info.cpu_svn = tcb.sgx_components;
  info.tee_tcb_svn = tcb.tee_tcb_svn;
  info.mr_seam = crypto::sha384({as_bytes("cloister/lab/1/TDX module"), tcb.tee_tcb_svn});
  return info;
}

}  // namespace

struct Platform::State {
  Seed seed;
  Options options;
  TcbState tcb;
  Authority authority;
  evidence::PckExtension machine;
  crypto::x509::CertificatePtr pck;
  std::string pck_chain;
  QuotingEnclave qe;
  tdx::ModuleInfo module;
  tdx::ReportKey report_key;

  State(Seed s, Options o, Authority a)
      : seed{std::move(s)},
        options{std::move(o)},
        tcb{options.tcb ? *options.tcb : TcbState::current(a.created())},
        authority{std::move(a)},
        machine{pck_extension(seed, tcb.machine)},
        pck{authority.issue_pck(pck_key().public_key(), seed.identity<16>(pck_use(tcb.machine) + " serial"), machine)},
        pck_chain{authority.chain_of(*pck)},
        qe{seed, tcb.machine, pck_key(), pck_chain},
        module{module_info(tcb.machine)},
        report_key{seed.secret("SEAMREPORT key")} {}

  [[nodiscard]] crypto::EcPrivateKey pck_key() const { return seed.key(pck_use(tcb.machine)); }
  [[nodiscard]] std::string tcb_info(UnixTime now, evidence::TeeType tee) const;
  [[nodiscard]] std::string qe_identity(UnixTime now, evidence::QeIdentity identity) const;
  [[nodiscard]] evidence::QuoteCollateral collateral(UnixTime now, evidence::TeeType tee, evidence::QeIdentity identity) const;
};

std::string Platform::State::tcb_info(UnixTime now, evidence::TeeType tee) const {
  evidence::TcbInfo info;
  info.tee = tee;
  info.issue_date = now;
  info.next_update = now + kDocumentLife;
  info.fmspc = machine.fmspc;
  info.pce_id = machine.pce_id;
  info.tcb_evaluation_data_number = tcb.published.evaluation_data_number;
  info.levels = tcb.published.levels;
  if (tee == evidence::TeeType::tdx) {
    info.tdx_module = evidence::TdxModule{};
    info.tdx_module->attributes_mask.fill(0xFF);
    info.tdx_module_identities = tcb.published.modules;
  } else {
    for (auto& level : info.levels) level.tdx.reset();
  }
  return evidence::write_tcb_info_body(info);
}

std::string Platform::State::qe_identity(UnixTime now, evidence::QeIdentity identity) const {
  identity.issue_date = now;
  identity.next_update = now + kDocumentLife;
  identity.tcb_evaluation_data_number = tcb.published.evaluation_data_number;
  identity.levels = tcb.published.qe_levels;
  return evidence::write_qe_identity_body(identity);
}

evidence::QuoteCollateral Platform::State::collateral(UnixTime now, evidence::TeeType tee, evidence::QeIdentity identity) const {
  const auto issued = std::chrono::floor<std::chrono::seconds>(now);
  evidence::QuoteCollateral out;
  out.pck_crl_issuer_chain = authority.ca_chain();
  out.root_ca_crl = authority.root_crl(issued, options.revoked_cas);
  out.pck_crl = authority.pck_crl(issued, options.revoked_pcks);
  out.tcb_info_issuer_chain = authority.tcb_signer_chain();
  out.tcb_info = tcb_info(issued, tee);
  out.tcb_info_signature = authority.sign_document(out.tcb_info);
  out.qe_identity_issuer_chain = authority.tcb_signer_chain();
  out.qe_identity = qe_identity(issued, std::move(identity));
  out.qe_identity_signature = authority.sign_document(out.qe_identity);
  return out;
}

Platform::Platform(std::unique_ptr<const State> state) : state_{std::move(state)} {}
Platform::Platform(Platform&&) noexcept = default;
Platform& Platform::operator=(Platform&&) noexcept = default;
Platform::~Platform() = default;

Platform Platform::create(crypto::Secret<32> seed, UnixTime created, Options options) {
  Seed keys{std::move(seed)};
  auto authority = Authority::create(keys, created, options.names);
  return Platform{std::make_unique<const State>(std::move(keys), std::move(options), std::move(authority))};
}

Result<Platform> Platform::open(crypto::Secret<32> seed, ByteView root_certificate, Options options) {
  Seed keys{std::move(seed)};
  CLOISTER_TRY(authority, Authority::open(keys, root_certificate, options.names));
  return Platform{std::make_unique<const State>(std::move(keys), std::move(options), std::move(authority))};
}

Platform Platform::with(Options options) const {
  options.names = state_->options.names;
  auto authority = Authority::open(state_->seed, root(), options.names);
  CLOISTER_ASSERT(authority.ok());  // it was opened or made with this root
  return Platform{std::make_unique<const State>(state_->seed.copy(), std::move(options), std::move(authority).value())};
}

const Bytes& Platform::root() const noexcept { return state_->authority.root().der; }
UnixTime Platform::created() const noexcept { return state_->authority.created(); }
const std::string& Platform::pck_chain() const noexcept { return state_->pck_chain; }
const crypto::x509::CertificatePtr& Platform::pck_certificate() const noexcept { return state_->pck; }
const ByteArray<6>& Platform::fmspc() const noexcept { return state_->machine.fmspc; }
const tdx::ModuleInfo& Platform::module() const noexcept { return state_->module; }
const tdx::ReportKey& Platform::report_key() const noexcept { return state_->report_key; }

evidence::QuoteCollateral Platform::collateral(UnixTime now) const {
  return state_->collateral(now, evidence::TeeType::tdx, state_->qe.identity());
}
evidence::QuoteCollateral Platform::sgx_collateral(UnixTime now, evidence::QeIdentity qe) const {
  return state_->collateral(now, evidence::TeeType::sgx, std::move(qe));
}

crypto::Secret<32> Platform::sgx_root() const { return state_->seed.secret("SGX root key"); }
const MachineTcb& Platform::machine() const noexcept { return state_->tcb.machine; }
ByteArray<64> Platform::certify(const evidence::SgxReport& qe_report) const {
  return to_array<64>(state_->pck_key().sign(evidence::encode_sgx_report(qe_report)));
}

std::shared_ptr<tdx::Machine> Platform::start() const {
  return std::make_shared<tdx::Machine>(state_->module, state_->report_key);
}

Result<tdx::Td> Platform::launch(const tdx::TdParams& params, std::span<const measure::TdFile> files) const {
  return tdx::launch(start(), params, files);
}

Result<Bytes> Platform::quote(ByteView td_report, QuoteFormat format) const {
  if (const auto status = state_->report_key.verify(td_report); !status.ok()) {
    return Error{Errc::permission_denied, "TD quoting enclave: the report is not of this machine (" +
                                              std::string{tdx::to_string(status.code())} + ")"};
  }
  CLOISTER_TRY(report, evidence::parse_td_report(td_report));
  return state_->qe.quote(report, format);
}

}  // namespace cloister::lab
