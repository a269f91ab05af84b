#include "dcap_lesson.hpp"

#include "sgx_lesson.hpp"

namespace cloister::exercise::dcap {

using attestation::AnchorKind;
using attestation::TrustAnchor;

UnixTime created() { return from_civil(2026, 3, 1, 12, 0, 0).value(); }
UnixTime now() { return created() + std::chrono::days{10}; }

lab::Platform platform_with(const lab::TcbState& tcb) { return lab::Platform::create(sgx::root(), created(), {.tcb = tcb}); }

const lab::Platform& platform() {
  static const auto current = platform_with(lab::TcbState::current(created()));
  return current;
}

lab_sgx::QuotingEnclave quoting_enclave(lab_sgx::Cpu& cpu, const lab::Platform& platform) {
  lab_sgx::Certification pce{.sign = [&platform](const evidence::SgxReport& report) { return platform.certify(report); },
                             .pck_chain = platform.pck_chain(),
                             .pce_svn = platform.machine().pcesvn};
  return lab_sgx::QuotingEnclave::start(cpu, 16, 3, platform.machine().qe_isvsvn, sgx::signer("vendor"), std::move(pce)).value();
}

Bytes quote(const lab_sgx::Cpu& cpu, const lab_sgx::QuotingEnclave& qe, const Digest64& report_data) {
  return qe.quote(cpu.ereport(0, lab_sgx::encode_target_info(qe.target()), report_data).value()).value();
}

attestation::Outcome verify(const evidence::Quote& quote, const lab::Platform& platform, const evidence::QeIdentity& qe) {
  attestation::TrustAnchors anchors;
  anchors.add(TrustAnchor::make(crypto::x509::parse_certificate(platform.root()).value(), AnchorKind::lab).value());
  const auto collateral = evidence::parse_documents(platform.sgx_collateral(now(), qe)).value();
  return attestation::verify(quote, collateral, anchors, now());
}

std::string failed(const attestation::Report& report) {
  std::string out;
  for (const auto& check : report.checks) {
    if (check.result != attestation::CheckResult::fail) continue;
    out.append(out.empty() ? "" : " ").append(attestation::to_string(check.id));
  }
  return out.empty() ? "none" : out;
}

}  // namespace cloister::exercise::dcap
