#include "cloister/verdict/verdict.hpp"

#include <algorithm>

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

Result<evidence::Quote> read_quote(const evidence::DetectedEvidence& found, std::string_view tee) {
  if (found.kind == EvidenceKind::unknown) {
    return Error{Errc::evidence_malformed, "no evidence of a known kind recognised in this file"};
  }
  if (!tee.empty() && tee != name_of(found.kind)) {
    return Error{Errc::evidence_unsupported,
                 "evidence of " + std::string{tee} + " expected, got " + std::string{name_of(found.kind)}};
  }
  if (found.kind == EvidenceKind::snp_report) {
    return Error{Errc::evidence_unsupported, "SEV-SNP reports can be recognised, but not verified"};
  }
  return evidence::parse_quote(found.bytes);
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

json::Value optional_time(const std::optional<UnixTime>& time) {
  return time ? json::Value{to_rfc3339(*time)} : json::Value{};
}

}  // namespace

Result<Verdict> judge(ByteView evidence, std::string_view tee, const Terms& terms, const FindCollateral& find) {
  Verdict verdict;
  const auto found = evidence::detect(evidence);
  if (!found) {
    verdict.error = found.error();
    return verdict;
  }
  verdict.kind = found->kind;
  const auto quote = read_quote(*found, tee);
  if (!quote) {
    verdict.error = quote.error();
    return verdict;
  }
  verdict.header = quote->header();
  const auto documents = find(*quote);
  if (!documents) {
    if (documents.error().code() == Errc::io_error) return documents.error();
    verdict.error = documents.error();
    return verdict;
  }
  auto outcome = attestation::verify(*quote, *documents, terms.anchors, terms.at);
  verdict.report = std::move(outcome.report);
  if (terms.report_data) attestation::check_report_data(*verdict.report, *terms.report_data);
  verdict.event_log = judge_event_log(terms.event_log, found->event_log, verdict.report->claims.unverified().td());
  verdict.error = verdict.report->error();
  if (!verdict.error && verdict.event_log && !*verdict.event_log) verdict.error = verdict.event_log->error();
  if (verdict.error || !outcome.evidence) return verdict;
  verdict.decision = policy::decide(terms.policy, *outcome.evidence);
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
    out.push_back({verdict.header ? "collateral" : "evidence", CheckResult::fail,
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
  return json::Value{json::Object{
      {"verdict", verdict.accepted() ? "accepted" : "rejected"},
      {"authentic", verdict.authentic()},
      {"bound", report != nullptr && report->bound},
      {"lab", report != nullptr && report->lab},
      {"tee", tee_name(verdict)},
      {"format", verdict.header ? json::Value{format_name(*verdict.header)} : json::Value{}},
      {"tcb", report != nullptr && report->tcb ? to_json(*report->tcb) : json::Value{json::Object{{"status", nullptr}}}},
      {"collateral", json::Object{{"issued", optional_time(issued)}, {"expires", optional_time(expires)}}},
      {"checks", std::move(checks)},
      {"claims", claims_of(verdict)},
      {"error", std::move(error)}}};
}

}  // namespace cloister::verdict
