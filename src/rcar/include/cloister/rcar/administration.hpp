#pragma once

#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

/// What administrators send: policies and reference values, as the public client writes them.
namespace cloister::rcar {

inline constexpr std::size_t kMaxPolicyMessage = 512U << 10;

/// {"policy":"…"}: Rego in base64url without padding. `malformed` for another alphabet, and what is not UTF-8.
[[nodiscard]] Result<std::string> parse_resource_policy(std::string_view text);
[[nodiscard]] std::string write_resource_policy(std::string_view policy);

struct AttestationPolicy {
  std::string id;  // "default_cpu", "default_gpu", …
  std::string policy;
};
/// {"type":"rego","policy_id":"…","policy":"…"}; `type` may be anything, and absent.
[[nodiscard]] Result<AttestationPolicy> parse_attestation_policy(std::string_view text);
[[nodiscard]] std::string write_attestation_policy(const AttestationPolicy& policy);

/// {"version":"0.1.0","type":"sample","payload":"…"}: an object of reference values by name, as JSON in standard base64.
/// `unsupported` for another version or type.
[[nodiscard]] Result<codec::json::Value> parse_reference_values(std::string_view text);
[[nodiscard]] std::string write_reference_values(const codec::json::Value& values);

}  // namespace cloister::rcar
