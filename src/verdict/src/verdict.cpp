#include "cloister/verdict/verdict.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/verdict/event_log.hpp"
#include "cloister/verdict/json.hpp"

namespace cloister::verdict {
namespace {

namespace json = codec::json;
using evidence::EvidenceKind;

std::string_view name_of(EvidenceKind kind) noexcept {
  switch (kind) {
    case EvidenceKind::sgx_quote: return "sgx";
    case EvidenceKind::tdx_quote: return "tdx";
    case EvidenceKind::snp_report: return "snp";
    case EvidenceKind::unknown: return "unknown";
  }
  return "unknown";
}

Result<void> check_kind(EvidenceKind kind, std::string_view tee) {
  if (kind == EvidenceKind::unknown) {
    return Error{Errc::evidence_malformed, "no evidence of a known kind recognised in this file"};
  }
  if (tee.empty() || tee == name_of(kind)) return {};
  return Error{Errc::evidence_unsupported, "evidence of " + std::string{tee} + " expected, got " + std::string{name_of(kind)}};
}

/// What a verifier gave, and how far it got; an error is one of ours.
using Verified = Result<std::optional<attestation::AuthenticEvidence>>;

Verified conclude(Verdict& verdict, attestation::Outcome outcome) {
  verdict.report = std::move(outcome.report);
  return std::move(outcome.evidence);
}

/// What stops before a report was made is the verdict's, unless it is ours.
template <class T>
Verified stopped(Verdict& verdict, const Result<T>& result) {
  if (result.error().code() == Errc::io_error) return result.error();
  verdict.error = result.error();
  return std::optional<attestation::AuthenticEvidence>{};
}

Verified verify_quote(Verdict& verdict, const evidence::DetectedEvidence& found, const Terms& terms, const Sources& sources) {
  const auto quote = evidence::parse_quote(found.bytes);
  if (!quote) return stopped(verdict, quote);
  verdict.format = format_name(quote->header());
  if (sources.remote) {
    verdict.report = attestation::refusal_without_collateral(quote->view(), terms.anchors, terms.at, terms.cache);
    if (verdict.report) return std::optional<attestation::AuthenticEvidence>{};
  }
  const auto documents = sources.collateral ? sources.collateral(*quote)
                                            : Result<DocumentsPtr>{Error{Errc::collateral_missing, "no collateral"}};
  if (!documents) return stopped(verdict, documents);
  return conclude(verdict, attestation::verify(*quote, **documents, terms.anchors, terms.at, terms.cache));
}

Verified verify_snp(Verdict& verdict, const evidence::DetectedEvidence& found, const Terms& terms, const Sources& sources) {
  const auto report = evidence::parse_snp_report(found.bytes);
  if (!report) return stopped(verdict, report);
  verdict.format = format_name(report->body());
  if (sources.remote) {
    verdict.report = attestation::refusal_without_endorsements(*report);
    if (verdict.report) return std::optional<attestation::AuthenticEvidence>{};
  }
  auto endorsements = found.endorsements;
  if (sources.endorsements) {
    auto given = sources.endorsements(*report, endorsements);
    if (!given) return stopped(verdict, given);
    endorsements.add(std::move(given).value());
  }
  return conclude(verdict, attestation::verify(*report, endorsements, terms.anchors, terms.at, terms.cache));
}

Verified verify_kind(Verdict& verdict, const evidence::DetectedEvidence& found, const Terms& terms, const Sources& sources) {
  switch (found.kind) {
    case EvidenceKind::sgx_quote:
    case EvidenceKind::tdx_quote: return verify_quote(verdict, found, terms, sources);
    case EvidenceKind::snp_report: return verify_snp(verdict, found, terms, sources);
    case EvidenceKind::unknown: break;
  }
  return Error{Errc::internal, "evidence of an unknown kind reached a verifier"};
}

json::Value tcb_of(const attestation::Report* report) {
  if (report != nullptr && report->tcb) return to_json(*report->tcb);
  if (report != nullptr && report->claims.unverified().snp() != nullptr) return tcb_json(*report->claims.unverified().snp());
  return json::Value{json::Object{{"status", nullptr}}};
}

/// The claims of the log that was given, else of the one that the evidence brought; nothing where there is none.
std::optional<Result<json::Value>> judge_event_log(const std::optional<Bytes>& given,
                                                   const std::optional<evidence::EventLog>& brought,
                                                   const evidence::TdBody* td) {
  if (!given && !brought) return std::nullopt;
  const auto judged = [&]() -> Result<json::Value> {
    if (td == nullptr) return Error{Errc::evidence_unsupported, "event logs are of TDs only"};
    if (!given) return event_log_claims(*brought, *td);
    CLOISTER_TRY(log, evidence::parse_event_log(*given));
    return event_log_claims(log, *td);
  };
  return judged();
}

Line event_log_line(const Verdict& verdict) {
  using attestation::CheckResult;
  constexpr std::string_view kId = "event_log";
  if (!verdict.event_log) return {kId, CheckResult::skipped, "none given"};
  if (*verdict.event_log) return {kId, CheckResult::pass, "its replay equals all four RTMRs"};
  return {kId, CheckResult::fail, verdict.event_log->error().detail()};
}

/// Evidence that somebody wanted to be bound goes all the way to appraised evidence.
Result<void> decide(Verdict& verdict, const Terms& terms, attestation::AuthenticEvidence&& evidence) {
  if (!terms.report_data) {
    verdict.decision = policy::decide(terms.policy, evidence, terms.at);
  } else {
    CLOISTER_TRY(bound, attestation::bind(std::move(evidence), *terms.report_data));
    auto appraisal = policy::appraise(terms.policy, std::move(bound), terms.at);
    verdict.decision = std::move(appraisal.decision);
    verdict.appraised = std::move(appraisal.appraised);
  }
  return {};
}

policy::Decision decision_of(const appraisal::Appraisal& appraisal) {
  policy::Decision out{.accepted = appraisal.accepted, .reasons = {}, .policy_digest = appraisal.policy_digest};
  for (const auto& reason : appraisal.reasons) out.reasons.push_back({reason.code, reason.detail});
  return out;
}

json::Value to_json(const appraisal::TrustClaim& claim) {
  json::Object out{{"value", std::int64_t{claim.value}}, {"tier", appraisal::to_string(appraisal::tier_of(claim.value))}};
  if (claim.rule) {
    out.emplace_back("rule", claim.rule->name);
    out.emplace_back("module", claim.rule->module);
    out.emplace_back("line", claim.rule->line);
    out.emplace_back("default", claim.rule->is_default);
  }
  return json::Value{std::move(out)};
}

json::Value to_json(const appraisal::Appraisal& appraisal) {
  json::Object claims;
  for (const auto& claim : appraisal.claims) claims.emplace_back(claim.name, to_json(claim));
  return json::Value{json::Object{{"status", appraisal::to_string(appraisal.status)},
                                  {"policy_digest", "sha256:" + codec::to_hex(appraisal.policy_digest)},
                                  {"trust_claims", std::move(claims)},
                                  {"extensions", appraisal.extensions}}};
}

json::Value optional_time(const std::optional<UnixTime>& time) {
  return time ? json::Value{to_rfc3339(*time)} : json::Value{};
}

}  // namespace

Result<DocumentsPtr> shared(Result<evidence::CollateralDocuments> documents) {
  if (!documents) return std::move(documents).error();
  return DocumentsPtr{std::make_shared<const evidence::CollateralDocuments>(std::move(documents).value())};
}

Result<DocumentsPtr> RecentDocuments::of(evidence::QuoteCollateral collateral) {
  const auto is_same = [&collateral](const auto& one) { return one.first == collateral; };
  {
    const std::lock_guard held{mutex_};
    const auto found = std::ranges::find_if(recent_, is_same);
    if (found != recent_.end()) return found->second;
  }
  CLOISTER_TRY(documents, shared(evidence::parse_documents(collateral)));
  const std::lock_guard held{mutex_};
  if (std::ranges::any_of(recent_, is_same)) return documents;
  if (recent_.size() == kMost) recent_.erase(recent_.begin());
  recent_.emplace_back(std::move(collateral), documents);
  return documents;
}

Result<Verdict> judge(ByteView evidence, std::string_view tee, const Terms& terms, const Sources& sources) {
  Verdict verdict;
  const auto found = evidence::detect(evidence);
  if (!found) {
    verdict.error = found.error();
    return verdict;
  }
  verdict.kind = found->kind;
  if (const auto kind = check_kind(found->kind, tee); !kind) {
    verdict.error = kind.error();
    return verdict;
  }
  auto authentic = verify_kind(verdict, *found, terms, sources);
  if (!authentic) return authentic.error();
  if (!verdict.report) return verdict;
  if (terms.report_data) attestation::check_report_data(*verdict.report, *terms.report_data);
  verdict.event_log = judge_event_log(terms.event_log, found->event_log, verdict.report->claims.unverified().td());
  verdict.error = verdict.report->error();
  if (!verdict.error && verdict.event_log && !*verdict.event_log) verdict.error = verdict.event_log->error();
  if (verdict.error || !*authentic) return verdict;
  if (terms.rego) {
    if (terms.more) {
      auto more = terms.more((*authentic)->claims());
      if (!more) {
        verdict.error = more.error();
        return verdict;
      }
      verdict.more = *std::move(more);
    }
    const auto begin = std::chrono::steady_clock::now();
    verdict.appraisal = appraisal::decide(*terms.rego, **authentic, terms.reference_values, verdict.more, {terms.explain});
    verdict.appraising = std::chrono::steady_clock::now() - begin;
    verdict.decision = decision_of(*verdict.appraisal);
    if (terms.report_data) {
      CLOISTER_TRY(bound, attestation::bind(**std::move(authentic), *terms.report_data));
      verdict.bound = std::move(bound);
    }
  } else {
    CLOISTER_CHECK(decide(verdict, terms, **std::move(authentic)));
  }
  if (!verdict.decision->accepted) verdict.error = verdict.decision->error();
  return verdict;
}

Result<Digest64> report_data_of_nonce(ByteView nonce) {
  Digest64 data{};
  if (nonce.size() > data.size()) return Error{Errc::invalid_argument, "at most 64 bytes expected"};
  std::ranges::copy(nonce, data.begin());
  return data;
}

std::string_view tee_name(const Verdict& verdict) noexcept {
  return name_of(verdict.kind.value_or(EvidenceKind::unknown));
}

std::vector<Line> lines_of(const Verdict& verdict) {
  using attestation::CheckResult;
  std::vector<Line> out;
  if (!verdict.report) {
    out.push_back({verdict.format.empty() ? "evidence" : "collateral", CheckResult::fail,
                   verdict.error ? verdict.error->detail() : ""});
    return out;
  }
  for (const auto& check : verdict.report->checks) {
    out.push_back({attestation::to_string(check.id), check.result, check.detail});
  }
  if (verdict.event_log || verdict.kind == EvidenceKind::tdx_quote) out.push_back(event_log_line(verdict));
  if (!verdict.decision) {
    out.push_back({"policy", CheckResult::skipped, verdict.authentic() ? "the event log is not this evidence's" : "not authentic"});
    return out;
  }
  std::string reasons;
  for (const auto& reason : verdict.decision->reasons) reasons += (reasons.empty() ? "" : "; ") + reason.detail;
  out.push_back({"policy", verdict.decision->accepted ? CheckResult::pass : CheckResult::fail, reasons});
  return out;
}

json::Value claims_of(const Verdict& verdict) {
  if (!verdict.report) return json::Value{json::Object{}};
  auto claims = to_json(verdict.report->claims.unverified());
  if (verdict.event_log && *verdict.event_log) claims.set("event_log", **verdict.event_log);
  return claims;
}

json::Value to_json(const Verdict& verdict) {
  const auto* report = verdict.report ? &*verdict.report : nullptr;
  json::Array checks;
  for (const auto& line : lines_of(verdict)) {
    checks.emplace_back(json::Object{
        {"id", line.id}, {"result", attestation::to_string(line.result)}, {"detail", line.detail}});
  }
  json::Value error;
  if (verdict.error) {
    error = json::Object{{"code", to_string(verdict.error->code())}, {"detail", verdict.error->detail()}};
  }
  std::optional<UnixTime> issued;
  std::optional<UnixTime> expires;
  if (report != nullptr && report->collateral) {
    issued = report->collateral->issued;
    expires = report->collateral->expires;
  }
  json::Value out{json::Object{
      {"verdict", verdict.accepted() ? "accepted" : "rejected"},
      {"authentic", verdict.authentic()},
      {"bound", report != nullptr && report->bound},
      {"lab", report != nullptr && report->lab},
      {"tee", tee_name(verdict)},
      {"format", verdict.format.empty() ? json::Value{} : json::Value{verdict.format}},
      {"tcb", tcb_of(report)},
      {"collateral", json::Object{{"issued", optional_time(issued)}, {"expires", optional_time(expires)}}},
      {"checks", std::move(checks)},
      {"claims", claims_of(verdict)},
      {"error", std::move(error)}}};
  if (verdict.appraisal) out.set("appraisal", to_json(*verdict.appraisal));
  return out;
}

}  // namespace cloister::verdict
