#include <cstdlib>

#include "cloister/attestation/verify.hpp"
#include "cloister/codec/cursor.hpp"

/// Input: length of the quote (32 bits, little-endian), the quote, a QuoteCollateralV3 object. The root that the
/// collateral itself brings is the anchor, so that inputs can get all the way.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  codec::Reader in{ByteView{data, size}};
  const auto length = in.u32le();
  const auto bytes = length ? in.take(*length) : std::nullopt;
  if (!bytes) return 0;
  const auto quote = evidence::parse_quote(*bytes);
  const auto collateral = evidence::parse_quote_collateral(as_text(in.rest()));
  if (!quote || !collateral) return 0;
  const auto documents = evidence::parse_documents(*collateral);
  if (!documents) return 0;

  attestation::TrustAnchors anchors;
  if (auto anchor = attestation::TrustAnchor::make(documents->tcb_info_issuer_chain.back(), attestation::AnchorKind::given)) {
    anchors.add(*anchor);
  }
  const auto now = documents->tcb_info.info.issue_date + std::chrono::hours{24 * 9};
  const auto outcome = attestation::verify(*quote, *documents, anchors, now);
  const auto untrusting = attestation::verify(*quote, *documents, attestation::TrustAnchors{}, now);

  if (outcome.evidence.has_value() != outcome.report.authentic()) std::abort();
  if (outcome.evidence && (!outcome.report.tcb || !outcome.report.collateral || outcome.report.bound)) std::abort();
  if (outcome.report.authentic() == outcome.report.error().has_value()) std::abort();
  if (untrusting.report.authentic()) std::abort();
  if (outcome.report.checks.size() != untrusting.report.checks.size()) std::abort();
  // What is refused without the collateral is refused with it.
  const auto refusal = attestation::refusal_without_collateral(quote->view(), anchors, now);
  if (refusal && (refusal->authentic() || outcome.report.authentic())) std::abort();
  return 0;
}
