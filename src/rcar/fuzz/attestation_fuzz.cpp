// An attestation that is read is written as one that is read alike, and has the same report data then.
#include "cloister/rcar/attestation.hpp"

using namespace cloister;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = as_text({data, size});
  if (const auto devices = rcar::parse_additional_evidence(text)) CLOISTER_ASSERT(devices->size() <= 16);
  const auto message = rcar::parse_attestation(text);
  if (!message) return 0;
  const auto again = rcar::parse_attestation(rcar::write(*message));
  CLOISTER_ASSERT(again.ok() && again->init_data == message->init_data && again->nonce == message->nonce &&
                  again->additional_evidence == message->additional_evidence && again->tee_key.to_json() == message->tee_key.to_json());
  const auto digest = rcar::primary_report_data(message->nonce, message->tee_key, message->additional_evidence);
  CLOISTER_ASSERT(digest.ok());
  CLOISTER_ASSERT(*digest == *rcar::primary_report_data(again->nonce, again->tee_key, again->additional_evidence));
  return 0;
}
