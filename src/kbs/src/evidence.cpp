#include "evidence.hpp"

#include <chrono>

#include "cloister/codec/text.hpp"
#include "cloister/rcar/snp_evidence.hpp"

namespace cloister::kbs {
namespace {

namespace json = codec::json;

/// The launch digest and platform that sample evidence claims, in Trustee's sample verifier.
json::Object sample_claims(const std::string& svn) {
  return {{"svn", svn},
          {"launch_digest", "abcde"},
          {"platform_version", json::Object{{"major", 1}, {"minor", 4}}},
          {"debug", false}};
}

/// Where a TEE has what it was configured with.
ByteView configuration_of(const attestation::Claims& claims) {
  if (const auto* td = claims.td()) return td->mr_config_id;
  if (const auto* snp = claims.snp()) return snp->report.host_data;
  return claims.sgx()->config_id;
}

/// Asks further policies, which together have the time that one has.
template <class Decide>
void judge_further(token::Attester& attester, const Further& further, Decide decide) {
  const auto until = std::chrono::steady_clock::now() + rego::Limits{}.time;
  for (const auto* rule : further) {
    const auto left = until - std::chrono::steady_clock::now();
    const appraisal::How how{rego::Explain::no, std::chrono::duration_cast<std::chrono::microseconds>(left)};
    attester.judged(rule->ref.name, rule->ref.digest, decide(rule->policy, how));
  }
}

/// What init-data claims, if it is what was measured.
Result<json::Value> policy_input(const rcar::MeasuredInitData& init_data, const attestation::Claims& claims) {
  const auto configuration = configuration_of(claims);
  if (!same_bytes(configuration, rcar::fitted(init_data.digest, configuration.size()))) {
    return Error{Errc::binding_mismatch, "init-data: its digest is not what the evidence has"};
  }
  return json::Value{json::Object{{"init_data_claims", rcar::claims_of(init_data)}}};
}

}  // namespace

Result<Attested> appraise_tee(std::string_view tee, std::string_view evidence, const Digest64& report_data,
                              const std::optional<rcar::MeasuredInitData>& init_data, const verdict::Terms& terms,
                              const verdict::Sources& sources, const Further& further) {
  auto bound_terms = terms;
  bound_terms.report_data = report_data;
  if (init_data) {
    bound_terms.more = [&init_data](const attestation::Claims& claims) { return policy_input(*init_data, claims); };
  }
  bound_terms.explain = rego::Explain::no;
  std::string text{evidence};
  if (tee == rcar::to_string(rcar::Tee::snp)) {
    CLOISTER_TRY(raw, rcar::with_raw_snp_report(evidence));
    text = std::move(raw);
  }
  auto asked = sources;
  if (sources.endorsements) {
    // A list that the guest brings may be an old one: the newest is looked for all the same.
    asked.endorsements = [&sources](const evidence::SnpReport& report, const evidence::SnpEndorsements& brought) {
      return sources.endorsements(report, evidence::SnpEndorsements{brought.certificates, {}});
    };
  }
  CLOISTER_TRY(judged, verdict::judge(as_bytes(text), tee, bound_terms, asked));
  if (!judged.bound || !judged.appraisal) {
    return judged.error ? *judged.error : Error{Errc::internal, "evidence was judged without a reason"};
  }
  json::Value measured;
  json::Value said;
  if (init_data) {
    measured = codec::to_hex(configuration_of(judged.bound->claims()));
    said = *judged.more.find("init_data_claims");
  }
  CLOISTER_TRY(attester, token::Attester::of(*judged.bound, *judged.appraisal));
  judge_further(attester, further, [&](const appraisal::Policy& policy, const appraisal::How& how) {
    return appraisal::decide(policy, judged.bound->authentic(), terms.reference_values, judged.more, how);
  });
  return Attested{std::move(attester), std::move(measured), std::move(said), judged.appraising};
}

Result<Attested> appraise_sample(rcar::Tee tee, const json::Value& evidence, const Digest48& report_data,
                                 const std::optional<rcar::MeasuredInitData>& init_data, const SampleRules& rules) {
  const std::string name{rcar::to_string(tee)};
  json::Fields fields{evidence, name + " evidence"};
  const auto svn = fields.string("svn");
  const auto claimed = fields.base64("report_data");
  CLOISTER_CHECK(fields.finish_lenient());
  if (!same_bytes(claimed, report_data)) {
    return Error{Errc::report_data_mismatch, name + " evidence: its report data is not that of this session's nonce and key"};
  }
  auto claims = tee == rcar::Tee::sample ? sample_claims(svn) : json::Object{{"svn", svn}};
  const json::Value annotated{
      json::Object{{name, std::move(claims)}, {"report_data", codec::to_hex(report_data)}}};
  auto input = annotated;
  json::Value measured;
  json::Value said;
  if (init_data) {
    measured = codec::to_base64(init_data->digest);
    said = rcar::claims_of(*init_data);
    input.set("init_data", measured).set("init_data_claims", said);
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto appraisal = appraisal::decide_sample(rules.policy, input, rules.reference_values, {rego::Explain::no});
  const std::chrono::nanoseconds appraising = std::chrono::steady_clock::now() - begin;
  CLOISTER_TRY(attester, token::Attester::of_sample(annotated, appraisal));
  judge_further(attester, rules.further, [&](const appraisal::Policy& policy, const appraisal::How& how) {
    return appraisal::decide_sample(policy, input, rules.reference_values, how);
  });
  return Attested{std::move(attester), std::move(measured), std::move(said), appraising};
}

}  // namespace cloister::kbs
