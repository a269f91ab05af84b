#include "cloister/verdict/verdict.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"

namespace cloister::verdict {
namespace {

using test::SyntheticPlatform;

/// One platform's evidence and everything that it is judged by.
struct Scene {
  test::SyntheticEvidence built = SyntheticPlatform{}.build();
  Terms terms{anchors(), SyntheticPlatform::now(), std::nullopt, {}};
  FindCollateral find = [this](const evidence::Quote&) { return shared(evidence::parse_documents(built.collateral)); };

  [[nodiscard]] attestation::TrustAnchors anchors() const {
    attestation::TrustAnchors out;
    auto anchor = attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given);
    EXPECT_TRUE(anchor.ok());
    out.add(*anchor);
    return out;
  }
  [[nodiscard]] Verdict judge(std::string_view tee = {}) const { return *verdict::judge(built.quote, tee, terms, {find, {}}); }
};

TEST(Judge, AcceptsWhatIsAuthenticAndAllowed) {
  const Scene s;
  const auto verdict = s.judge("tdx");
  EXPECT_TRUE(verdict.authentic());
  EXPECT_TRUE(verdict.accepted());
  EXPECT_FALSE(verdict.error);
  EXPECT_EQ(tee_name(verdict), "tdx");
}

TEST(Judge, RejectsAnotherTee) {
  const Scene s;
  EXPECT_EQ(s.judge("sgx").error->code(), Errc::evidence_unsupported);
}

TEST(Judge, RejectsWhatItDoesNotRecognise) {
  const Scene s;
  const auto verdict = judge(to_bytes("nothing"), "", s.terms, {s.find, {}});
  ASSERT_TRUE(verdict.ok());
  EXPECT_EQ(verdict->error->code(), Errc::evidence_malformed);
  EXPECT_EQ(tee_name(*verdict), "unknown");
  EXPECT_FALSE(verdict->accepted());
}

TEST(Judge, RejectsOtherReportData) {
  Scene s;
  s.terms.report_data = Digest64{0xEE};
  EXPECT_EQ(s.judge().error->code(), Errc::report_data_mismatch);
}

TEST(Judge, AppraisesWhatIsBoundAndAllowed) {
  Scene s;
  EXPECT_FALSE(s.judge().appraised);
  s.terms.report_data = SyntheticPlatform{}.td().report_data;
  const auto verdict = s.judge();
  EXPECT_TRUE(verdict.accepted());
  ASSERT_TRUE(verdict.appraised);
  EXPECT_EQ(verdict.appraised->policy_digest(), policy::digest(s.terms.policy));
  s.terms.policy.min_evaluation_data_number = 1'000'000;
  EXPECT_FALSE(s.judge().appraised);
  s.terms.policy = {};
  s.terms.report_data = Digest64{0xEE};
  EXPECT_FALSE(s.judge().appraised);
}

TEST(Judge, IsByTheRegoPolicyWhereThereIsOne) {
  Scene s;
  s.terms.policy.min_evaluation_data_number = 1'000'000;  // counts no more
  const auto policy = appraisal::Policy::compile("p.rego", "package policy\ntrust_claims := {\"hardware\": query_reference_value(\"x\")}");
  ASSERT_TRUE(policy.ok());
  s.terms.rego = *policy;
  s.terms.reference_values = codec::json::Object{{"x", 2}};
  const auto accepted = s.judge();
  EXPECT_TRUE(accepted.accepted());
  const auto text = codec::json::write(to_json(accepted));
  EXPECT_NE(text.find(R"("appraisal":{"status":"affirming")"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("hardware":{"value":2,"tier":"affirming","rule":"trust_claims","module":"p.rego","line":2,)"),
            std::string::npos) << text;

  s.terms.reference_values = codec::json::Object{{"x", 97}};
  const auto refused = s.judge();
  EXPECT_TRUE(refused.authentic());
  EXPECT_FALSE(refused.accepted());
  EXPECT_EQ(refused.error->code(), Errc::appraisal_not_affirming);
  EXPECT_EQ(refused.decision->policy_digest, policy->digest());
}

TEST(Judge, RejectsWhatThePolicyRefuses) {
  Scene s;
  s.terms.policy.min_evaluation_data_number = 1'000'000;
  const auto verdict = s.judge();
  EXPECT_TRUE(verdict.authentic());
  EXPECT_FALSE(verdict.accepted());
  EXPECT_EQ(verdict.error->code(), Errc::evaluation_data_number_too_low);
}

TEST(Judge, SaysWhatCollateralLacks) {
  Scene s;
  s.find = [](const evidence::Quote&) { return Error{Errc::collateral_missing, "none"}; };
  const auto verdict = s.judge();
  EXPECT_EQ(verdict.error->code(), Errc::collateral_missing);
  ASSERT_EQ(lines_of(verdict).size(), 1U);
  EXPECT_EQ(lines_of(verdict).front().id, "collateral");
}

TEST(Judge, FailsOnlyWhereCollateralCannotBeRead) {
  Scene s;
  s.find = [](const evidence::Quote&) { return Error{Errc::io_error, "the disk"}; };
  EXPECT_EQ(judge(s.built.quote, "", s.terms, {s.find, {}}).error().code(), Errc::io_error);
}

TEST(Judge, ShowsEveryCheckAndThePolicyLast) {
  const Scene s;
  const auto verdict = s.judge();
  const auto lines = lines_of(verdict);
  ASSERT_EQ(lines.size(), verdict.report->checks.size() + 2);
  EXPECT_EQ(lines[lines.size() - 2].id, "event_log");
  EXPECT_EQ(lines.back().id, "policy");
  EXPECT_EQ(lines.back().result, attestation::CheckResult::pass);
}

TEST(Judge, AsksNoRemoteSourceForWhatIsForged) {
  Scene s;
  int asked = 0;
  const Sources sources{[&](const evidence::Quote& quote) { ++asked; return s.find(quote); }, {}, true};
  EXPECT_TRUE(judge(s.built.quote, "", s.terms, sources)->accepted());
  EXPECT_EQ(asked, 1);
  s.built.quote[200] ^= 1;
  const auto forged = *judge(s.built.quote, "", s.terms, sources);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(forged.error->code(), Errc::quote_signature_invalid);
  EXPECT_FALSE(forged.authentic());
  EXPECT_FALSE(forged.decision);
  EXPECT_FALSE(claims_of(forged).as_object()->empty());
  EXPECT_EQ(lines_of(forged).back().result, attestation::CheckResult::skipped);
  s.terms.anchors = {};
  EXPECT_EQ(judge(SyntheticPlatform{}.build().quote, "", s.terms, sources)->error->code(), Errc::root_untrusted);
  EXPECT_EQ(asked, 1);
}

/// One chip's report and everything that it is judged by.
struct SnpScene {
  test::SyntheticSnpEvidence built = test::SyntheticSnp{}.build();
  Terms terms{anchors(), test::SyntheticSnp::now(), std::nullopt, {}};
  Sources sources{{}, [this](const evidence::SnpReport&, const auto&) { return Result<evidence::SnpEndorsements>{built.endorsements}; }};

  [[nodiscard]] attestation::TrustAnchors anchors() const {
    attestation::TrustAnchors out;
    out.add(*attestation::TrustAnchor::make(built.root, attestation::AnchorKind::given));
    return out;
  }
  [[nodiscard]] Verdict judge(std::string_view tee = {}) const { return *verdict::judge(built.report, tee, terms, sources); }
};

TEST(JudgeSnp, AcceptsWhatIsAuthenticAndAllowed) {
  const SnpScene s;
  const auto verdict = s.judge("snp");
  EXPECT_TRUE(verdict.accepted()) << verdict.error->text();
  EXPECT_EQ(tee_name(verdict), "snp");
  EXPECT_EQ(verdict.format, "snp-report-v3");
  const auto object = to_json(verdict);
  EXPECT_TRUE(object.find("tcb")->find("status")->is_null());
  EXPECT_EQ(*object.find("tcb")->find("launch")->find("snp"), codec::json::Value{24});
  EXPECT_EQ(lines_of(verdict).size(), verdict.report->checks.size() + 1);
  EXPECT_EQ(s.judge("tdx").error->code(), Errc::evidence_unsupported);
}

TEST(JudgeSnp, SaysWhichCheckFailed) {
  SnpScene s;
  s.terms.report_data = Digest64{1};
  EXPECT_EQ(s.judge().error->code(), Errc::report_data_mismatch);
  s.terms.report_data.reset();
  s.built.report[0x90] ^= 1;
  const auto verdict = s.judge();
  EXPECT_EQ(verdict.error->code(), Errc::report_signature_invalid);
  EXPECT_FALSE(verdict.authentic());
  EXPECT_FALSE(verdict.decision);
  EXPECT_NE(to_json(verdict).find("claims")->find("measurement"), nullptr);
  s.built.report[0x34] = 9;
  EXPECT_EQ(s.judge().error->code(), Errc::evidence_unsupported);
  EXPECT_EQ(lines_of(s.judge()).front().id, "evidence");
}

TEST(JudgeSnp, AsksNoRemoteSourceForWhatNoCertificateMends) {
  test::SyntheticSnp chip;
  ++chip.body.committed_tcb[0];
  SnpScene s;
  s.built = chip.build();
  int asked = 0;
  s.sources = {{}, [&](const evidence::SnpReport&, const auto&) { ++asked; return Result<evidence::SnpEndorsements>{s.built.endorsements}; }, true};
  EXPECT_EQ(s.judge().error->code(), Errc::tcb_order_invalid);
  EXPECT_EQ(asked, 0);
  s.sources.remote = false;
  EXPECT_EQ(s.judge().error->code(), Errc::tcb_order_invalid);
  EXPECT_EQ(asked, 1);
}

TEST(JudgeSnp, ShowsTheSourceWhatTheReportBrought) {
  SnpScene s;
  append(s.built.report, evidence::encode_snp_certificate_table(s.built.endorsements));
  std::size_t shown = 0;
  s.sources.endorsements = [&](const evidence::SnpReport&, const evidence::SnpEndorsements& brought) {
    shown = brought.certificates.size();
    return Result<evidence::SnpEndorsements>{evidence::SnpEndorsements{}};
  };
  EXPECT_TRUE(s.judge().accepted());
  EXPECT_EQ(shown, s.built.endorsements.certificates.size());
}

TEST(JudgeSnp, IsByTheRegoPolicyWhereThereIsOne) {
  SnpScene s;
  const auto policy = appraisal::Policy::compile("snp.rego", R"(package policy
import rego.v1
default executables := 33
executables := 3 if input.snp.measurement in query_reference_value("launch")
default hardware := 97
hardware := 2 if {
  input.snp.reported_tcb_snp >= query_reference_value("least_snp")
  input.snp.policy_debug_allowed == false
}
trust_claims := {"executables": executables, "hardware": hardware}
)");
  ASSERT_TRUE(policy.ok()) << policy.error().text();
  s.terms.rego = *policy;
  const auto measurement = codec::to_hex(evidence::parse_snp_report(s.built.report)->body().measurement);
  s.terms.reference_values = codec::json::Object{{"launch", codec::json::Array{measurement}}, {"least_snp", 24}};
  const auto accepted = s.judge();
  EXPECT_TRUE(accepted.accepted()) << accepted.error->text();
  EXPECT_EQ(accepted.decision->policy_digest, policy->digest());
  const auto text = codec::json::write(to_json(accepted));
  EXPECT_NE(text.find(R"("executables":{"value":3,"tier":"affirming","rule":"executables","module":"snp.rego","line":4,)"),
            std::string::npos) << text;

  const auto refused = [&](codec::json::Value values, std::string_view why) {
    s.terms.reference_values = std::move(values);
    const auto verdict = s.judge();
    EXPECT_TRUE(verdict.authentic());
    EXPECT_FALSE(verdict.accepted());
    ASSERT_TRUE(verdict.error.has_value());
    EXPECT_EQ(verdict.error->code(), Errc::appraisal_not_affirming);
    EXPECT_NE(verdict.error->detail().find(why), std::string::npos) << verdict.error->detail();
  };
  refused(codec::json::Object{{"launch", codec::json::Array{std::string(96, '0')}}, {"least_snp", 24}}, "executables is 33");
  refused(codec::json::Object{{"launch", codec::json::Array{measurement}}, {"least_snp", 25}}, "hardware is 97");
  s.built.report[0x90] ^= 1;
  EXPECT_EQ(s.judge().error->code(), Errc::report_signature_invalid);
  EXPECT_FALSE(s.judge().appraisal);  // a policy sees authentic evidence alone
}

TEST(JudgeSnp, TakesTheCertificatesThatComeWithTheReport) {
  SnpScene s;
  s.sources = {};
  EXPECT_EQ(s.judge().error->code(), Errc::collateral_missing);
  append(s.built.report, evidence::encode_snp_certificate_table(s.built.endorsements));
  EXPECT_TRUE(s.judge().accepted());
}

TEST(JudgeSnp, FailsOnlyWhereCertificatesCannotBeRead) {
  SnpScene s;
  s.sources.endorsements = [](const evidence::SnpReport&, const auto&) { return Error{Errc::io_error, "the disk"}; };
  EXPECT_EQ(judge(s.built.report, "", s.terms, s.sources).error().code(), Errc::io_error);
  s.sources.endorsements = [](const evidence::SnpReport&, const auto&) { return Error{Errc::collateral_malformed, "a file"}; };
  EXPECT_EQ(s.judge().error->code(), Errc::collateral_malformed);
}

TEST(Judge, HasNothingWhereNoSourceIsGiven) {
  const Scene s;
  EXPECT_EQ(judge(s.built.quote, "", s.terms, {})->error->code(), Errc::collateral_missing);
}

TEST(RecentDocuments, AreParsedOnce) {
  const Scene s;
  RecentDocuments recent;
  const auto first = recent.of(s.built.collateral).value();
  EXPECT_EQ(recent.of(s.built.collateral).value(), first);
  auto other = s.built.collateral;
  other.tcb_info_signature[0] ^= 1;
  const auto second = recent.of(other).value();
  EXPECT_NE(second, first);
  EXPECT_EQ(recent.of(other).value(), second);
  EXPECT_EQ(recent.of(s.built.collateral).value(), first) << "the one before is still there";
  for (std::uint8_t i = 2; i < 6; ++i) {
    other.tcb_info_signature[0] = i;
    ASSERT_TRUE(recent.of(other).ok());
  }
  EXPECT_NE(recent.of(s.built.collateral).value(), first) << "only the last few are kept";
}

TEST(RecentDocuments, KeepNothingThatIsMalformed) {
  Scene s;
  RecentDocuments recent;
  s.built.collateral.tcb_info = "{";
  EXPECT_FALSE(recent.of(s.built.collateral).ok());
  EXPECT_FALSE(recent.of(s.built.collateral).ok());
}

TEST(ReportDataOfNonce, IsTheNonceAndZeros) {
  const auto data = report_data_of_nonce(Bytes{1, 2});
  ASSERT_TRUE(data.ok());
  EXPECT_EQ((*data)[0], 1);
  EXPECT_EQ((*data)[1], 2);
  EXPECT_EQ((*data)[63], 0);
  EXPECT_TRUE(report_data_of_nonce(Bytes(64)).ok());
  EXPECT_EQ(report_data_of_nonce(Bytes(65)).error().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace cloister::verdict
