#include "cloister/verdict/verdict.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
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
  verdict.error = verdict.report->error();
  if (verdict.error || !outcome.evidence) return verdict;
  if (terms.rego) {
    verdict.appraisal = appraisal::decide(*terms.rego, *outcome.evidence, terms.reference_values);
    verdict.decision = decision_of(*verdict.appraisal);
  } else {
    verdict.decision = policy::decide(terms.policy, *outcome.evidence);
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
    out.push_back({verdict.header ? "collateral" : "evidence", CheckResult::fail,
                   verdict.error ? verdict.error->detail() : ""});
    return out;
  }
  for (const auto& check : verdict.report->checks) {
    out.push_back({attestation::to_string(check.id), check.result, check.detail});
  }
  if (!verdict.decision) {
    out.push_back({"policy", CheckResult::skipped, "not authentic"});
    return out;
  }
  std::string reasons;
  for (const auto& reason : verdict.decision->reasons) reasons += (reasons.empty() ? "" : "; ") + reason.detail;
  out.push_back({"policy", verdict.decision->accepted ? CheckResult::pass : CheckResult::fail, reasons});
  return out;
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
      {"format", verdict.header ? json::Value{format_name(*verdict.header)} : json::Value{}},
      {"tcb", report != nullptr && report->tcb ? to_json(*report->tcb) : json::Value{json::Object{{"status", nullptr}}}},
      {"collateral", json::Object{{"issued", optional_time(issued)}, {"expires", optional_time(expires)}}},
      {"checks", std::move(checks)},
      {"claims", report != nullptr ? to_json(report->claims.unverified()) : json::Value{json::Object{}}},
      {"error", std::move(error)}}};
  if (verdict.appraisal) out.set("appraisal", to_json(*verdict.appraisal));
  return out;
}

}  // namespace cloister::verdict
