#include <algorithm>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/lab_snp/authority.hpp"
#include "cloister/policy/policy.hpp"
#include "dcap_lesson.hpp"
#include "sgx_lesson.hpp"

/// Genuine machines that are not up to date, and what a verifier makes of them.
namespace cloister::exercise::downgraded_tcb {
namespace {

namespace json = codec::json;
using attestation::AnchorKind;
using attestation::TrustAnchor;
using lab_sgx::Code;

constexpr std::size_t kQuoteCpuSvn = 48;
constexpr auto kProduct = evidence::SnpProduct::milan;
constexpr evidence::SnpTcb kSnpNow{.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out.append(out.empty() ? "" : ",").append(word);
  return out.empty() ? "none" : out;
}

/// One quote of an enclave on a machine with these versions, verified and decided on.
void sgx_machine(EventLog& log, const ByteArray<16>& svns, const std::optional<ByteArray<16>>& claimed, bool accept_old) {
  auto tcb = lab::TcbState::current(dcap::created());
  tcb.machine.sgx_components = svns;
  const auto platform = dcap::platform_with(tcb);
  lab_sgx::Cpu cpu{sgx::root(), {.cpu_svn = svns, .pages = 32}};
  const auto plan = sgx::plan_of("honest enclave");
  EventLog loading;
  CLOISTER_ASSERT(sgx::load(cpu, loading, plan, 0, sgx::sigstruct_for(plan, {})) == Code::success && cpu.eenter(0, 1) == Code::success);
  const auto qe = dcap::quoting_enclave(cpu, platform);
  auto bytes = dcap::quote(cpu, qe, {});
  if (claimed) std::ranges::copy(*claimed, bytes.begin() + kQuoteCpuSvn);
  const auto quote = evidence::parse_quote(bytes).value();
  const auto outcome = dcap::verify(quote, platform, qe.identity());
  json::Object with{{"machine", codec::to_hex(ByteView{svns}.first(8))},
                    {"quote[0x30]", codec::to_hex(quote.bytes().subspan(kQuoteCpuSvn, 8))}};
  if (outcome.report.tcb) {
    with.emplace_back("status", attestation::to_string(outcome.report.tcb->status));
    with.emplace_back("advisories", joined(outcome.report.tcb->advisory_ids));
  }
  with.emplace_back("failed", dcap::failed(outcome.report));
  log.add("verifier", "VERIFY_SGX", std::move(with), outcome.evidence ? "authentic" : outcome.report.error()->text());
  if (!outcome.evidence) return;
  policy::Policy policy;
  if (accept_old) policy.accepted_statuses.push_back(attestation::TcbStatus::out_of_date);
  const auto decision = policy::decide(policy, *outcome.evidence, dcap::now());
  log.add("policy", "DECIDE_SGX", {{"accept_out_of_date", accept_old}, {"status", attestation::to_string(outcome.evidence->tcb().status)}},
          decision.accepted ? "accepted" : decision.error().text());
}

const lab_snp::Authority& authority() {
  static const auto made = lab_snp::Authority::create(sgx::root(), lab_snp::AuthorityKeys::generate(2048), dcap::created());
  return made;
}

/// One report of a chip whose host set the reported microcode, under the key of that TCB.
void snp_machine(EventLog& log, std::uint8_t reported_microcode, std::uint8_t least_microcode) {
  using evidence::VekKind;
  auto reported = kSnpNow;
  reported.microcode = reported_microcode;
  const auto present = authority().secret(kProduct, VekKind::vcek, kSnpNow);
  const auto secret = present.lower(evidence::encode_snp_tcb(reported, kProduct));
  json::Object with{{"current", std::uint64_t{kSnpNow.microcode}}, {"reported", std::uint64_t{reported_microcode}}};
  if (!secret) return log.add("firmware", "DERIVE_VCEK", std::move(with), secret.error().text());
  log.add("firmware", "DERIVE_VCEK", with, "success");
  evidence::SnpReportBody body;
  body.version = 3;
  body.cpuid = evidence::SnpCpuid{.family = 0x19, .model = 0x01, .stepping = 1};
  body.chip_id = authority().chip_id(kProduct);
  body.current_tcb = body.committed_tcb = body.launch_tcb = evidence::encode_snp_tcb(kSnpNow, kProduct);
  body.reported_tcb = evidence::encode_snp_tcb(reported, kProduct);
  const auto report = evidence::parse_snp_report(lab_snp::sign_report(body, *secret).value()).value();
  attestation::TrustAnchors anchors;
  anchors.add(TrustAnchor::make(authority().root(kProduct), AnchorKind::lab).value());
  const auto endorsements = authority().endorsements(kProduct, VekKind::vcek, reported, dcap::now());
  const auto outcome = attestation::verify(report, endorsements, anchors, dcap::now());
  with.emplace_back("report[0x180]", codec::to_hex(ByteView{report.bytes()}.subspan(0x180, 8)));
  log.add("verifier", "VERIFY_SNP", std::move(with), outcome.evidence ? "authentic" : outcome.report.error()->text());
  if (!outcome.evidence) return;
  policy::Policy policy;
  if (least_microcode > 0) {
    policy.snp.min_tcb = {{kProduct, evidence::SnpTcb{.fmc = {}, .bootloader = 0, .tee = 0, .snp = 0, .microcode = least_microcode}}};
  }
  const auto decision = policy::decide(policy, *outcome.evidence, dcap::now());
  log.add("policy", "DECIDE_SNP", {{"min_microcode", std::uint64_t{least_microcode}}, {"reported", std::uint64_t{reported_microcode}}},
          decision.accepted ? "accepted" : decision.error().text());
}

Result<void> replay(const Files& files, EventLog& log) {
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op == "SGX") {
      const auto svns = fields.hex_array<8>("svns");
      const auto claim = fields.optional_string("claim");
      const bool accept_old = fields.boolean("accept_out_of_date");
      CLOISTER_CHECK(fields.finish());
      const auto padded = [](ByteView first) {
        ByteArray<16> out{};
        std::ranges::copy(first, out.begin());
        return out;
      };
      std::optional<ByteArray<16>> claimed;
      if (claim) {
        const auto bytes = codec::array_from_hex<8>(*claim);
        if (!bytes) return bytes.error().in("claim");
        claimed = padded(*bytes);
      }
      sgx_machine(log, padded(svns), claimed, accept_old);
    } else if (op == "SNP") {
      const auto reported = static_cast<std::uint8_t>(number(fields, "reported_microcode", 255));
      const auto least = static_cast<std::uint8_t>(number(fields, "min_microcode", 255));
      CLOISTER_CHECK(fields.finish());
      snp_machine(log, reported, least);
    } else {
      return unknown_op(op, "SGX, SNP");
    }
    return {};
  });
}

constexpr Goal kGoals[] = {
    {"An old machine is authentic, OutOfDate, and refused by the default policy", 2,
     [](const EventLog& log) {
       return happened(log, "VERIFY_SGX", "authentic", {{"status", "OutOfDate"}, {"advisories", "LAB-SA-00001"}}) &&
              happened(log, "DECIDE_SGX", "tcb_status_not_accepted", {{"status", "OutOfDate"}});
     },
     "lower one byte of svns, not below 02 02 02 02 03 01 00 04"},
    {"A policy that accepts OutOfDate takes it", 2,
     [](const EventLog& log) { return happened(log, "DECIDE_SGX", "accepted", {{"status", "OutOfDate"}}); },
     "the same machine with accept_out_of_date true"},
    {"Below every published level no policy takes it", 1,
     [](const EventLog& log) { return happened(log, "DECIDE_SGX", "tcb_status_not_accepted", {{"status", "NotSupported"}, {"accept_out_of_date", "true"}}); },
     "lower a byte of svns below the oldest level, and accept what you can"},
    {"Writing the new CPUSVN into an old machine's quote breaks its signature", 2,
     [](const EventLog& log) {
       return any(log, [](const Event& e) {
         return e.op == "VERIFY_SGX" && e.detail("failed") == "quote_signature" && e.detail("machine") != "0303020204010005" &&
                e.detail("quote[0x30]") == "0303020204010005";
       });
     },
     "give the old machine a claim: the svns of the machine that is up to date"},
    {"On SNP a host may report an older TCB, authentic: only a minimum refuses it", 3,
     [](const EventLog& log) {
       return any(log, [&](const Event& e) {
         return e.op == "DECIDE_SNP" && e.outcome == "accepted" && e.detail("reported") != "219" && e.detail("min_microcode") == "0" &&
                happened(log, "DECIDE_SNP", "tcb_too_low", {{"reported", e.detail("reported")}});
       });
     },
     "report a microcode below 219, once with min_microcode 0 and once with a higher one"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 3, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::downgraded_tcb
