#include <array>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/policy/policy.hpp"
#include "dcap_lesson.hpp"
#include "sgx_lesson.hpp"

/// A host that chooses which edition of the vendor's documents a verifier sees.
namespace cloister::exercise::stale_collateral {
namespace {

namespace json = codec::json;
using attestation::AnchorKind;
using attestation::TrustAnchor;
using lab_sgx::Code;

constexpr int kOldEdition = 10;  // the day of each edition; day 0 is when the platform was made
constexpr int kNewEdition = 20;
constexpr std::uint64_t kLastDay = 300;

UnixTime day(std::uint64_t number) { return dcap::created() + std::chrono::days{number}; }

/// What the vendor knows on day 20: a newer microcode is out, this one has a hole, and the machine's key was stolen by it.
const lab::Platform& after_recovery() {
  static const auto made = [] {
    auto tcb = lab::TcbState::current(dcap::created());
    auto& published = tcb.published;
    published.evaluation_data_number = 18;
    auto newest = published.levels.front();
    ++newest.sgx[0].svn;
    newest.tcb_date = day(kNewEdition);
    auto& present = published.levels.front();
    present.status = evidence::TcbStatus::out_of_date;
    present.advisory_ids = {"LAB-SA-00002"};
    published.levels.insert(published.levels.begin(), newest);
    lab::Platform::Options options{.tcb = tcb};
    options.revoked_pcks = {{dcap::platform().pck_certificate()->serial, day(kNewEdition)}};
    return lab::Platform::create(sgx::root(), dcap::created(), std::move(options));
  }();
  return made;
}

/// The machine's quote, and both editions of the documents.
class World {
 public:
  explicit World(EventLog& log) : cpu_{sgx::root(), {.cpu_svn = dcap::platform().machine().sgx_components, .pages = 32}} {
    const auto plan = sgx::plan_of("honest enclave");
    CLOISTER_ASSERT(sgx::load(cpu_, log, plan, 0, sgx::sigstruct_for(plan, {})) == Code::success && cpu_.eenter(0, 1) == Code::success);
    const auto qe = dcap::quoting_enclave(cpu_, dcap::platform());
    quote_ = dcap::quote(cpu_, qe, {});
    old_ = dcap::platform().sgx_collateral(day(kOldEdition), qe.identity());
    new_ = after_recovery().sgx_collateral(day(kNewEdition), qe.identity());
  }

  void verify(EventLog& log, bool new_tcb_info, bool new_crl, std::uint64_t at, std::uint32_t least_number) const {
    auto served = new_tcb_info ? new_ : old_;
    served.pck_crl = (new_crl ? new_ : old_).pck_crl;
    const auto documents = evidence::parse_documents(served).value();
    attestation::TrustAnchors anchors;
    anchors.add(TrustAnchor::make(crypto::x509::parse_certificate(dcap::platform().root()).value(), AnchorKind::lab).value());
    const auto outcome = attestation::verify(evidence::parse_quote(quote_).value(), documents, anchors, day(at));
    json::Object with{{"day", at}, {"tcb_info", new_tcb_info ? "new" : "old"}, {"crl", new_crl ? "new" : "old"}};
    if (outcome.report.tcb) {
      with.emplace_back("number", std::uint64_t{outcome.report.tcb->tcb_info_number});
      with.emplace_back("status", attestation::to_string(outcome.report.tcb->status));
    }
    with.emplace_back("failed", dcap::failed(outcome.report));
    log.add("verifier", "VERIFY", std::move(with), outcome.evidence ? "authentic" : outcome.report.error()->text());
    if (!outcome.evidence) return;
    policy::Policy policy;
    policy.min_evaluation_data_number = least_number;
    const auto decision = policy::decide(policy, *outcome.evidence, day(at));
    log.add("policy", "DECIDE", {{"day", at}, {"min_number", std::uint64_t{least_number}}}, decision.accepted ? "accepted" : decision.error().text());
  }

 private:
  lab_sgx::Cpu cpu_;
  Bytes quote_;
  evidence::QuoteCollateral old_;
  evidence::QuoteCollateral new_;
};

Result<void> replay(const Files& files, EventLog& log) {
  const World world{log};
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) -> Result<void> {
    if (op != "VERIFY") return unknown_op(op, "VERIFY");
    const auto at = number(fields, "day", kLastDay);
    const bool new_tcb_info = one_of(fields, "tcb_info", {"old", "new"}) == "new";
    const bool new_crl = one_of(fields, "crl", {"old", "new"}) == "new";
    const auto least = static_cast<std::uint32_t>(number(fields, "min_number", 1000));
    CLOISTER_CHECK(fields.finish());
    world.verify(log, new_tcb_info, new_crl, at, least);
    return {};
  });
}

/// Whether a VERIFY after the recovery went so.
bool later(const EventLog& log, std::string_view tcb_info, std::string_view crl, std::string_view outcome, std::string_view failed) {
  return any(log, [&](const Event& e) {
    return e.op == "VERIFY" && std::stoul(e.detail("day")) >= kNewEdition && e.detail("tcb_info") == tcb_info && e.detail("crl") == crl &&
           e.outcome.starts_with(outcome) && e.detail("failed") == failed;
  });
}

constexpr Goal kGoals[] = {
    {"With all that is new, the machine's key is revoked", 1,
     [](const EventLog& log) { return later(log, "new", "new", "pck_certificate_revoked", "pck_revocation"); },
     "VERIFY on a day after the recovery with the new documents"},
    {"An old CRL hides the revocation, the new TCB info still says OutOfDate", 2,
     [](const EventLog& log) {
       return later(log, "new", "old", "authentic", "none") && happened(log, "DECIDE", "tcb_status_not_accepted");
     },
     "serve the new TCB info with the old CRL, while that is valid"},
    {"With everything old, after the recovery, you are UpToDate and accepted", 3,
     [](const EventLog& log) {
       return any(log, [&](const Event& e) {
         return e.op == "DECIDE" && e.outcome == "accepted" && std::stoul(e.detail("day")) >= kNewEdition;
       });
     },
     "serve both old documents on a day when the new ones are out and the old ones have not expired"},
    {"The same under a policy that knows the number of the last edition", 2,
     [](const EventLog& log) { return happened(log, "DECIDE", "evaluation_data_number_too_low", {{"min_number", "18"}}); },
     "the same with min_number 18"},
    {"Old documents end by themselves", 2,
     [](const EventLog& log) {
       return any(log, [](const Event& e) {
         return e.op == "VERIFY" && e.detail("tcb_info") == "old" && e.detail("failed").find("tcb_info_dates") != std::string::npos &&
                e.detail("failed").find("pck_crl") != std::string::npos && std::stoul(e.detail("day")) > kNewEdition;
       });
     },
     "serve both old documents after their nextUpdate: 30 days after their edition"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SGX", .level = 3, .more_files = nullptr, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::stale_collateral
