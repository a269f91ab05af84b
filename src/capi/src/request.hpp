#pragma once

#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/verdict/verdict.hpp"
#include "cloister_verify.h"
#include "setting.hpp"

/// What the caller owns between calls: nothing that a verdict depends on.
struct cloister_verify_cache {
  explicit cloister_verify_cache(cloister::Random& random) : known{random} {}

  cloister::attestation::VerificationCache known;
  cloister::capi::Settings settings;
};

namespace cloister::capi {

/// A request of C, checked: sizes, pointers and everything that is the caller's own to get right.
struct Request {
  ByteView evidence;  // of the caller's, for the time of the call
  std::string tee;
  SettingPtr setting;
  verdict::Terms terms;
};

/// `invalid_argument`, `limit_exceeded`, `certificate_malformed`, `root_untrusted`, `lab_root_not_trusted`,
/// `policy_invalid` with the member that is wrong.
[[nodiscard]] Result<Request> read_request(const cloister_verify_request* request);

}  // namespace cloister::capi
