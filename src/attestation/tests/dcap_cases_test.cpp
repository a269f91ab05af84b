#include <gtest/gtest.h>

#include "cloister/attestation/verify.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/evidence/detect.hpp"
#include "support/support.hpp"

/// The public truth table of SGX and TDX verdicts: every quote under every bundle of its platform.
namespace cloister::attestation {
namespace {

struct Case {
  std::string id;
  std::string quote;
  std::string bundle;
  std::int64_t time = 0;
  std::string expected;  // a TCB status, or "reject: why"
};

std::vector<Case> load_cases() {
  const auto folder = test::vectors();
  if (!folder) return {};
  const auto text = test::read_text(*folder / "attestation/dcap-cases/cases.json");
  const auto json = codec::json::parse(text);
  std::vector<Case> cases;
  if (!json || json->as_array() == nullptr) return cases;
  const auto member = [](const codec::json::Value& value, std::string_view name) { return *value.find(name)->as_string(); };
  for (const auto& value : *json->as_array()) {
    cases.push_back({member(value, "id"), member(value, "quote"), member(value, "bundle"),
                     *value.find("time")->as_int(), member(value, "expected")});
  }
  return cases;
}

std::string summary(const Outcome& outcome) {
  const auto status = outcome.report.tcb ? std::string{to_string(outcome.report.tcb->status)} : "no status";
  if (const auto error = outcome.report.error()) return "reject: " + error->text() + " (" + status + ")";
  return status;
}

class DcapCases : public testing::TestWithParam<Case> {};

TEST_P(DcapCases, HaveTheExpectedVerdict) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto& c = GetParam();
  const auto base = folder / "attestation/dcap-cases";
  const auto detected = evidence::detect(test::read_file(base / c.quote));
  ASSERT_TRUE(detected.ok()) << detected.error().text();
  const auto quote = evidence::parse_quote(detected->bytes);
  ASSERT_TRUE(quote.ok()) << quote.error().text();
  const auto bundle = evidence::parse_quote_collateral(test::read_text(base / c.bundle));
  ASSERT_TRUE(bundle.ok()) << bundle.error().text();
  const auto documents = evidence::parse_documents(*bundle);
  ASSERT_TRUE(documents.ok()) << documents.error().text();

  const auto outcome =
      verify(*quote, *documents, TrustAnchors::vendors(), from_micros(c.time * 1'000'000));

  EXPECT_EQ(outcome.report.authentic(), outcome.evidence.has_value());
  ASSERT_TRUE(outcome.report.tcb.has_value());
  if (!c.expected.starts_with("reject")) {
    EXPECT_EQ(summary(outcome), c.expected);
    return;
  }
  // The table's refusals are all of one kind, and give the status that there would be.
  ASSERT_TRUE(outcome.report.error().has_value()) << summary(outcome);
  EXPECT_EQ(outcome.report.error()->code(), Errc::pck_certificate_not_yet_valid);
  EXPECT_TRUE(c.expected.ends_with(std::string{"would be "} + std::string{to_string(outcome.report.tcb->status)})) << c.expected;
}

INSTANTIATE_TEST_SUITE_P(Public, DcapCases, testing::ValuesIn(load_cases()), [](const auto& param) {
  auto name = param.param.id;
  for (auto& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DcapCases);

TEST(DcapTable, IsThereAndWhole) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  static_cast<void>(folder);
  EXPECT_GE(load_cases().size(), 45U);
}

}  // namespace
}  // namespace cloister::attestation
