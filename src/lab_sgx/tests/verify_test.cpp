#include <gtest/gtest.h>

#include "cloister/attestation/verify.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab_sgx/quoting.hpp"
#include "enclave.hpp"

/// SGX quotes of the lab, seen by the verifier that everybody else uses. Only this test links it.
namespace cloister::lab_sgx {
namespace {

using namespace test;
using attestation::AnchorKind;
using attestation::TrustAnchor;
using attestation::TrustAnchors;

const UnixTime kCreated = from_civil(2026, 3, 1, 12, 0, 0).value();
const UnixTime kNow = kCreated + std::chrono::days{10};

TrustAnchors anchors_of(const lab::Platform& platform) {
  TrustAnchors anchors;
  anchors.add(TrustAnchor::make(crypto::x509::parse_certificate(platform.root()).value(), AnchorKind::lab).value());
  return anchors;
}

/// A platform with its CPU, an enclave on processor 0 and the quoting enclave on 3.
struct Quoting {
  lab::Platform platform;
  Cpu cpu;
  QuotingEnclave qe;

  explicit Quoting(lab::Platform made, const Build& build = {})
      : platform{std::move(made)}, cpu{platform.sgx_root(), {.cpu_svn = platform.machine().sgx_components, .pages = 32}},
        qe{started(build)} {}
  QuotingEnclave started(const Build& build) {
    start(cpu, build);
    Certification pce{.sign = [this](const evidence::SgxReport& report) { return platform.certify(report); },
                      .pck_chain = platform.pck_chain(), .pce_svn = platform.machine().pcesvn};
    return QuotingEnclave::start(cpu, 16, 3, platform.machine().qe_isvsvn, signer(), std::move(pce)).value();
  }
  Report report() { return cpu.ereport(0, encode_target_info(qe.target()), Digest64{0x64}).value(); }
  attestation::Outcome verify(ByteView quote, const TrustAnchors& anchors) {
    const auto collateral = evidence::parse_documents(platform.sgx_collateral(kNow, qe.identity())).value();
    return attestation::verify(evidence::parse_quote(quote).value(), collateral, anchors, kNow);
  }
};

std::string problem(const attestation::Outcome& outcome) {
  return outcome.report.error() ? outcome.report.error()->text() : "none";
}

lab::Platform platform(const lab::TcbState& tcb = lab::TcbState::current(kCreated)) {
  return lab::Platform::create(root(), kCreated, {.tcb = tcb});
}

TEST(SgxQuote, VerifiesUnderTheLabsRootAndNoOther) {
  Quoting q{platform()};
  const auto quote = q.qe.quote(q.report()).value();
  EXPECT_EQ(evidence::parse_quote(quote)->header().version, 3);
  auto outcome = q.verify(quote, anchors_of(q.platform));
  ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
  EXPECT_TRUE(outcome.evidence->lab());
  EXPECT_EQ(outcome.evidence->tcb().status, attestation::TcbStatus::up_to_date);
  EXPECT_TRUE(attestation::bind(std::move(*outcome.evidence), Digest64{0x64}).ok());
  EXPECT_EQ(evidence::parse_quote(quote)->sgx()->mr_enclave, sigstruct().enclave_hash);
  const auto other = lab::Platform::create(root(2), kCreated);
  for (const auto& anchors : {TrustAnchors{}, TrustAnchors::vendors(), anchors_of(other)}) {
    EXPECT_FALSE(q.verify(quote, anchors).evidence.has_value());
  }
}

TEST(SgxQuote, EveryChangedByteIsRefused) {
  Quoting q{platform()};
  const auto good = q.qe.quote(q.report()).value();
  const auto anchors = anchors_of(q.platform);
  const auto collateral = evidence::parse_documents(q.platform.sgx_collateral(kNow, q.qe.identity())).value();
  std::size_t tried = 0;
  for (std::size_t i = 0; i < 1048; i += 5) {  // header to authentication data
    auto changed = good;
    changed[i] ^= 0x10;
    const auto parsed = evidence::parse_quote(changed);
    if (!parsed) continue;
    ++tried;
    EXPECT_FALSE(attestation::verify(*parsed, collateral, anchors, kNow).evidence.has_value()) << "byte " << i;
  }
  EXPECT_GT(tried, 150U);
}

TEST(SgxQuote, OldVersionsShow) {
  auto tcb = lab::TcbState::current(kCreated);
  --tcb.machine.sgx_components[0];
  Quoting old_cpu{platform(tcb)};
  auto outcome = old_cpu.verify(old_cpu.qe.quote(old_cpu.report()).value(), anchors_of(old_cpu.platform));
  ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
  EXPECT_EQ(outcome.evidence->tcb().status, attestation::TcbStatus::out_of_date);
  tcb = lab::TcbState::current(kCreated);
  --tcb.machine.qe_isvsvn;
  Quoting old_qe{platform(tcb)};
  outcome = old_qe.verify(old_qe.qe.quote(old_qe.report()).value(), anchors_of(old_qe.platform));
  ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
  EXPECT_EQ(outcome.evidence->tcb().qe, attestation::TcbStatus::out_of_date);
}

TEST(SgxQuote, DebugEnclavesSaySo) {
  Quoting q{platform(), {.flags = evidence::sgx_flag::kMode64 | evidence::sgx_flag::kDebug}};
  const auto outcome = q.verify(q.qe.quote(q.report()).value(), anchors_of(q.platform));
  ASSERT_TRUE(outcome.evidence.has_value()) << problem(outcome);
  EXPECT_TRUE(attestation::attribute_findings(outcome.evidence->claims()).debug);
}

TEST(SgxQuote, OnlyReportsForTheQuotingEnclaveAreQuoted) {
  Quoting q{platform()};
  auto changed = q.report();
  changed.body.mr_enclave[0] ^= 1;
  EXPECT_EQ(q.qe.quote(changed).error().code(), Errc::permission_denied);
  EXPECT_EQ(q.qe.quote(q.cpu.ereport(0, encode_target_info({}), {}).value()).error().code(), Errc::permission_denied);
  Quoting elsewhere{lab::Platform::create(root(2), kCreated)};
  EXPECT_EQ(q.qe.quote(elsewhere.report()).error().code(), Errc::permission_denied);
}

}  // namespace
}  // namespace cloister::lab_sgx
