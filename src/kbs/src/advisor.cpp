#include "cloister/kbs/advisor.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/rcar/messages.hpp"
#include "cloister/rcar/snp_evidence.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;

const std::string kTrial = "try";

/// The claims of a submodule's evidence, as a policy had them.
Result<json::Value> evidence_in(const json::Value& token, std::string_view submodule) {
  const auto* at = &token;
  for (const auto name : {std::string_view{"submods"}, submodule, std::string_view{"ear.veraison.annotated-evidence"}}) {
    at = at->find(name);
    if (at == nullptr) return Error{Errc::token_claim_invalid, "token: it has no evidence of " + std::string{submodule}};
  }
  auto claims = *at;
  auto* members = claims.as_object();
  if (members == nullptr) return Error{Errc::token_claim_invalid, "token: evidence: an object expected"};
  std::erase_if(*members, [](const auto& one) { return one.first == "runtime_data_claims"; });  // policies do not see it
  return claims;
}

}  // namespace

/// What was asked about, read.
struct Advisor::Known {
  json::Value claims;
  std::optional<Error> token;
};

Result<Advisor::Known> Advisor::claims_of(const About& about, UnixTime now) const {
  if (about.claims) {
    if (about.claims->as_object() == nullptr) return Error{Errc::malformed, "claims: an object expected"};
    return Known{*about.claims, {}};
  }
  CLOISTER_TRY(token, crypto::jose::parse_signed(*about.token));
  CLOISTER_TRY(claims, crypto::jose::payload_of(token));
  const auto taken = tokens_.verify(*about.token, now);
  return Known{std::move(claims), taken ? std::optional<Error>{} : taken.error()};
}

Result<Advisor::ResourceAdvice> Advisor::resource(const About& about, const rcar::ResourcePath& path,
                                                  const std::optional<std::string>& trial, UnixTime now) const {
  if (about.evidence || about.claims.has_value() == about.token.has_value()) {
    return Error{Errc::invalid_argument, "about a resource: claims or token expected, one of them"};
  }
  CLOISTER_TRY(known, claims_of(about, now));
  const auto current = rules_.current();
  ResourceAdvice out;
  std::optional<ResourcePolicy> tried;
  const ResourcePolicy* policy = nullptr;
  if (trial) {
    CLOISTER_TRY(compiled, ResourcePolicy::compile(kTrial, *trial));
    tried = std::move(compiled);
    policy = &*tried;
    out.policy = {kTrial, policy->digest()};
  } else {
    const auto& rule = current->deciding(path);
    policy = &rule.policy;
    out.policy = rule.ref;
    out.scope = rule.scope;
  }
  out.token = std::move(known.token);
  CLOISTER_TRY(labels, vault_.labels(path));
  json::Object named;
  for (const auto& [name, value] : labels) named.emplace_back(name, value);
  auto answer = policy->explain(known.claims, path, std::move(named));
  if (answer) {
    out.allowed = answer->allowed;
    out.why = std::move(answer->why);
  } else {
    out.failure = answer.error();
  }
  return out;
}

Result<appraisal::Appraisal> Advisor::judge(const Evidence& evidence, const appraisal::Policy& policy,
                                            const json::Value& reference_values, UnixTime now) const {
  const verdict::Terms terms{.anchors = services_.anchors,
                             .at = now,
                             .report_data = {},
                             .policy = {},
                             .rego = policy,
                             .reference_values = reference_values,
                             .cache = services_.cache};
  auto text = evidence.text;
  if (evidence.tee == rcar::to_string(rcar::Tee::snp) && text.starts_with('{')) {
    CLOISTER_TRY(raw, rcar::with_raw_snp_report(text));
    text = std::move(raw);
  }
  CLOISTER_TRY(judged, verdict::judge(as_bytes(text), evidence.tee, terms, services_.sources));
  if (judged.appraisal) return *std::move(judged.appraisal);
  return judged.error ? *judged.error : Error{Errc::internal, "evidence was judged without a reason"};
}

Result<Advisor::AttestationAdvice> Advisor::attestation(const About& about, const std::optional<std::string>& name,
                                                        const std::optional<std::string>& trial, UnixTime now) const {
  if (int{about.claims.has_value()} + int{about.token.has_value()} + int{about.evidence.has_value()} != 1) {
    return Error{Errc::invalid_argument, "about an attestation: claims, token or evidence expected, one of them"};
  }
  const auto current = rules_.current();
  std::vector<std::pair<PolicyRef, appraisal::Policy>> asked;
  if (trial) {
    CLOISTER_TRY(compiled, appraisal::Policy::compile(kTrial, *trial));
    const auto digest = crypto::sha256(as_bytes(*trial));
    asked.emplace_back(PolicyRef{kTrial, digest}, std::move(compiled));
  } else if (name) {
    const auto found = current->attestation.find(*name);
    if (found == current->attestation.end()) return Error{Errc::not_found, "no such policy"};
    asked.emplace_back(found->second.ref, found->second.policy);
  } else {
    const auto& first = current->judging(kCpuPolicy);
    asked.emplace_back(first.ref, first.policy);
    for (const auto* rule : current->further(AttesterClass::cpu)) asked.emplace_back(rule->ref, rule->policy);
  }

  AttestationAdvice out;
  json::Value claims;
  if (!about.evidence) {
    CLOISTER_TRY(known, claims_of(about, now));
    claims = std::move(known.claims);
    out.token = std::move(known.token);
  }
  if (about.token) {
    CLOISTER_TRY(found, evidence_in(claims, name && std::string_view{*name}.ends_with(kDeviceSuffix) ? "gpu0" : "cpu0"));
    claims = std::move(found);
  }
  for (const auto& [ref, policy] : asked) {
    if (!about.evidence) {
      out.judgements.push_back({ref, appraisal::decide_sample(policy, claims, current->reference_values)});
      continue;
    }
    auto appraised = judge(*about.evidence, policy, current->reference_values, now);
    if (!appraised) {
      if (appraised.error().code() == Errc::io_error) return appraised.error();
      out.evidence = appraised.error();
      return out;
    }
    out.judgements.push_back({ref, *std::move(appraised)});
  }
  return out;
}

}  // namespace cloister::kbs
