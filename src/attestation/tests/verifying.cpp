#include "verifying.hpp"

#include <gtest/gtest.h>

namespace cloister::attestation {

TrustAnchors anchors_of(const crypto::x509::CertificatePtr& root, AnchorKind kind) {
  TrustAnchors anchors;
  const auto anchor = TrustAnchor::make(root, kind);
  EXPECT_TRUE(anchor.ok()) << anchor.error().text();
  if (anchor) anchors.add(*anchor);
  return anchors;
}

Outcome verify_built(const test::SyntheticEvidence& built, const TrustAnchors& anchors, UnixTime at) {
  const auto quote = evidence::parse_quote(built.quote);
  const auto documents = evidence::parse_documents(built.collateral);
  EXPECT_TRUE(quote.ok()) << quote.error().text();
  EXPECT_TRUE(documents.ok()) << documents.error().text();
  return verify(*quote, *documents, anchors, at);
}

Outcome verify_built(const test::SyntheticEvidence& built, AnchorKind kind, UnixTime at) {
  return verify_built(built, anchors_of(built.root, kind), at);
}

std::vector<CheckId> failed(const Report& report) {
  std::vector<CheckId> out;
  for (const auto& check : report.checks) {
    if (check.result == CheckResult::fail) out.push_back(check.id);
  }
  return out;
}

void PrintTo(CheckId id, std::ostream* out) { *out << to_string(id); }

void expect_failed(const Outcome& outcome, const std::vector<CheckId>& checks, Errc code) {
  EXPECT_EQ(failed(outcome.report), checks);
  EXPECT_FALSE(outcome.report.authentic());
  EXPECT_FALSE(outcome.evidence.has_value());
  const auto error = outcome.report.error();
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(to_string(error->code()), to_string(code)) << error->detail();
  EXPECT_FALSE(error->detail().empty());
}

}  // namespace cloister::attestation
