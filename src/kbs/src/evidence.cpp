#include "evidence.hpp"

#include "cloister/codec/text.hpp"

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

}  // namespace

Result<token::Attester> appraise_tee(std::string_view tee, std::string_view evidence, const Digest64& report_data,
                                     const verdict::Terms& terms, const verdict::Sources& sources) {
  auto bound_terms = terms;
  bound_terms.report_data = report_data;
  CLOISTER_TRY(judged, verdict::judge(as_bytes(evidence), tee, bound_terms, sources));
  if (judged.bound && judged.appraisal) return token::Attester::of(*judged.bound, *judged.appraisal);
  if (judged.error) return *judged.error;
  return Error{Errc::internal, "evidence was judged without a reason"};
}

Result<token::Attester> appraise_sample(rcar::Tee tee, const json::Value& evidence, const Digest48& report_data,
                                        const Rules& rules) {
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
  return token::Attester::of_sample(annotated, appraisal::decide_sample(rules.policy, annotated, rules.reference_values));
}

}  // namespace cloister::kbs
