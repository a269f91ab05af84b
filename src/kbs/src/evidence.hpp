#pragma once

#include <chrono>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/kbs/rules.hpp"
#include "cloister/rcar/init_data.hpp"
#include "cloister/rcar/messages.hpp"
#include "cloister/token/trustee.hpp"
#include "cloister/verdict/verdict.hpp"

/// From what a guest sends to attesters of a token.
namespace cloister::kbs {

/// What sample evidence is appraised by.
struct SampleRules {
  const appraisal::Policy& policy;
  const codec::json::Value& reference_values;
  Further further;
};

/// An attester, what its evidence has in the place of init-data and what that claims (null for none), and how long the
/// policy took.
struct Attested {
  token::Attester attester;
  codec::json::Value init_data;
  codec::json::Value init_data_claims;
  std::chrono::nanoseconds appraising{};
};

/// Evidence of a TEE, as Trustee's attesters write it: JSON with the quote or report, and beside it the event log or the
/// certificates. `report_data` is what it has to be bound to. Init-data that is given must be what was measured:
/// MRCONFIGID of a TD, HOST_DATA of an SNP guest, CONFIGID of an enclave, else `binding_mismatch`; what is in it is read
/// thereafter. The verifier's errors.
/// Further policies together have the time that one has; one that fails says so in the attester, and is no error.
[[nodiscard]] Result<Attested> appraise_tee(std::string_view tee, std::string_view evidence, const Digest64& report_data,
                                            const std::optional<rcar::MeasuredInitData>& init_data, const verdict::Terms& terms,
                                            const verdict::Sources& sources, const Further& further);

/// {"svn","report_data"} of `sample` (48 bytes of standard base64), or of a `sampledevice`. `report_data_mismatch`. Nothing
/// measures init-data here: it is what the guest says, as the rest.
[[nodiscard]] Result<Attested> appraise_sample(rcar::Tee tee, const codec::json::Value& evidence, const Digest48& report_data,
                                               const std::optional<rcar::MeasuredInitData>& init_data, const SampleRules& rules);

}  // namespace cloister::kbs
