#include <cstdlib>

#include "cloister/codec/cursor.hpp"
#include "cloister/verdict/verdict.hpp"

/// Input: length of the evidence (32 bits, little-endian), the evidence, a QuoteCollateralV3 object. The root that the
/// collateral itself brings is the anchor, so that inputs can get all the way.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  codec::Reader in{ByteView{data, size}};
  const auto length = in.u32le();
  const auto evidence = length ? in.take(*length) : std::nullopt;
  if (!evidence) return 0;
  const auto collateral = evidence::parse_quote_collateral(as_text(in.rest()));
  auto documents = collateral ? evidence::parse_documents(*collateral)
                              : Result<evidence::CollateralDocuments>{Error{Errc::collateral_missing, "none"}};
  verdict::Terms terms;
  terms.at = *from_civil(2026, 1, 1, 0, 0, 0);
  if (documents) {
    terms.at = documents->tcb_info.info.issue_date + std::chrono::hours{24 * 9};
    const auto& root = documents->tcb_info_issuer_chain.back();
    if (auto anchor = attestation::TrustAnchor::make(root, attestation::AnchorKind::given)) terms.anchors.add(*anchor);
  }
  const auto judged = verdict::judge(*evidence, "", terms, {[&](const evidence::Quote&) { return verdict::shared(documents); }, {}});
  if (!judged) std::abort();  // nothing here is a failure of ours
  if (judged->accepted() == judged->error.has_value()) std::abort();
  if (judged->accepted() && !judged->authentic()) std::abort();
  const auto text = codec::json::write(verdict::to_json(*judged));
  if (!codec::json::parse(text)) std::abort();
  return 0;
}
