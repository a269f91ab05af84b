#pragma once

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/rcar/messages.hpp"
#include "cloister/token/trustee.hpp"
#include "cloister/verdict/verdict.hpp"

/// From what a guest sends to attesters of a token.
namespace cloister::kbs {

/// What evidence is appraised by.
struct Rules {
  const appraisal::Policy& policy;
  const codec::json::Value& reference_values;
};

/// Evidence of a TEE, as Trustee's attesters write it: JSON with the quote or report, and beside it the event log or the
/// certificates. `report_data` is what it has to be bound to. The verifier's errors.
[[nodiscard]] Result<token::Attester> appraise_tee(std::string_view tee, std::string_view evidence, const Digest64& report_data,
                                                   const verdict::Terms& terms, const verdict::Sources& sources);

/// {"svn","report_data"} of `sample` (48 bytes of standard base64), or of a `sampledevice`. `report_data_mismatch`.
[[nodiscard]] Result<token::Attester> appraise_sample(rcar::Tee tee, const codec::json::Value& evidence,
                                                      const Digest48& report_data, const Rules& rules);

}  // namespace cloister::kbs
