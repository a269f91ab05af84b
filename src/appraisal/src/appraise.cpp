#include <algorithm>
#include <array>

#include "cloister/appraisal/appraisal.hpp"

namespace cloister::appraisal {
namespace {

namespace json = codec::json;
using attestation::TcbStatus;

const std::string kTrustClaims = "data.policy.trust_claims";
const std::string kExtensions = "data.policy.extensions";
constexpr std::string_view kDefaultPolicy =
#include "default_policy.inc"
    ;

constexpr std::array<std::string_view, 8> kClaimNames = {
    "instance-identity", "configuration", "executables",    "file-system",
    "hardware",          "runtime-opaque", "storage-opaque", "sourced-data",
};

std::optional<rego::Rule> rule_named(const std::vector<rego::Rule>& rules, std::string_view name) {
  const auto found = std::ranges::find(rules, name, [](const rego::Rule& rule) { return std::string_view{rule.name}; });
  return found == rules.end() ? std::nullopt : std::optional{*found};
}

std::optional<rego::Rule> rule_of(const std::vector<rego::Rule>& rules, std::string claim) {
  std::ranges::replace(claim, '-', '_');
  const auto own = rule_named(rules, claim);
  return own ? own : rule_named(rules, "trust_claims");
}

Result<std::vector<TrustClaim>> read_claims(const rego::Evaluation& evaluation) {
  const auto failed = [](std::string detail) { return Error{Errc::policy_evaluation_failed, std::move(detail)}; };
  const auto* value = evaluation.find(kTrustClaims);
  if (value == nullptr) return failed(kTrustClaims + " is undefined");
  const auto* members = value->as_object();
  if (members == nullptr) return failed(kTrustClaims + " is no object");
  std::vector<TrustClaim> out;
  for (const auto& [name, number] : *members) {
    if (std::ranges::find(kClaimNames, name) == kClaimNames.end()) return failed(name + " is no trust claim of AR4SI");
    const auto read = number.as_int();
    if (!read || *read < INT8_MIN || *read > INT8_MAX) return failed(name + ": an integer of 8 bits expected");
    auto rule = evaluation.rules ? rule_of(*evaluation.rules, name) : std::nullopt;
    out.push_back({name, static_cast<std::int8_t>(*read), std::move(rule)});
  }
  return out;
}

void refuse(Appraisal& out, const Error& error) { out.reasons.push_back({error.code(), error.detail()}); }

/// 1 and -1 say that the verifier could not tell: no assertion is 0.
bool forbids(const TrustClaim& claim) { return claim.value != 0 && tier_of(claim.value) != Tier::affirming; }

/// Completes `out`, which may hold reasons already.
void evaluate(Appraisal& out, const rego::CompiledPolicy& policy, const json::Value& input, const json::Value& reference_values,
              const How& how) {
  auto evaluation = policy.evaluate({input, {}, reference_values, how.time}, how.explain);
  if (!evaluation) return refuse(out, evaluation.error());
  auto claims = read_claims(*evaluation);
  if (!claims) return refuse(out, claims.error());
  out.claims = std::move(*claims);
  out.unmet = std::move(evaluation->unmet);
  if (const auto* extensions = evaluation->find(kExtensions)) out.extensions = *extensions;
  for (const auto& claim : out.claims) {
    out.status = std::max(out.status, tier_of(claim.value));
    if (forbids(claim)) refuse(out, Error{Errc::appraisal_not_affirming, describe(claim)});
  }
  if (out.status == Tier::none) refuse(out, Error{Errc::appraisal_not_affirming, "the policy asserts nothing"});
  out.accepted = out.reasons.empty();
}

}  // namespace

std::string describe(const TrustClaim& claim) {
  auto out = claim.name + " is " + std::to_string(claim.value) + " (" + std::string{to_string(tier_of(claim.value))} + ')';
  if (claim.rule) {
    out += std::string{", by "} + (claim.rule->is_default ? "the default of " : "") + claim.rule->name + " at " +
           claim.rule->module + ':' + std::to_string(claim.rule->line);
  }
  return out;
}

Result<Policy> Policy::compile(std::string name, std::string text) {
  const std::array modules{rego::Module{std::move(name), text}};
  const std::array entrypoints{kTrustClaims, kExtensions};
  CLOISTER_TRY(compiled, rego::CompiledPolicy::compile(modules, entrypoints));
  return Policy{std::move(compiled), std::move(text), rego::digest(modules, entrypoints, {})};
}

Policy Policy::builtin() {
  auto policy = compile("default.rego", std::string{kDefaultPolicy});
  CLOISTER_ASSERT(policy.ok());
  return std::move(policy).value();
}

Appraisal decide(const Policy& policy, const attestation::AuthenticEvidence& evidence, const json::Value& reference_values,
                 const json::Value& more, const How& how) {
  Appraisal out;
  out.policy_digest = policy.digest_;
  if (const auto& tcb = evidence.report().tcb;
      tcb && (tcb->status == TcbStatus::revoked || tcb->status == TcbStatus::not_supported)) {
    refuse(out, Error{Errc::tcb_status_not_accepted, "the TCB is " + std::string{attestation::to_string(tcb->status)}});
  }
  auto input = claims_of(evidence);
  if (const auto* members = more.as_object()) {
    for (const auto& [name, value] : *members) input.set(name, value);
  }
  evaluate(out, *policy.compiled_, input, reference_values, how);
  return out;
}

Appraisal decide_sample(const Policy& policy, const json::Value& claims, const json::Value& reference_values,
                        const How& how) {
  Appraisal out;
  out.policy_digest = policy.digest_;
  evaluate(out, *policy.compiled_, claims, reference_values, how);
  return out;
}

std::pair<Appraisal, std::optional<Affirmed>> appraise(const Policy& policy, attestation::BoundEvidence evidence,
                                                       const json::Value& reference_values) {
  auto appraisal = decide(policy, evidence.authentic(), reference_values);
  std::optional<Affirmed> affirmed;
  if (appraisal.accepted) affirmed = Affirmed{std::move(evidence), appraisal};
  return {std::move(appraisal), std::move(affirmed)};
}

}  // namespace cloister::appraisal
