#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"

/// How the protocol says no.
namespace cloister::rcar {

/// The names of refusals, as the public server has them; those that this one uses.
enum class RefusalKind {
  attestation_error,
  invalid_request_path,
  jwe_error,
  parse_policy_error,
  plugin_internal_error,  // also a resource that is not there, and a fault of the server's own
  plugin_not_found,
  policy_deny,
  policy_engine_error,
  rvps_error,
  serde_error,
  token_not_found,
  token_verifier_error,
};
/// "AttestationError".
[[nodiscard]] std::string_view to_string(RefusalKind kind) noexcept;

/// {"type":"https://github.com/confidential-containers/kbs/errors/<kind>","detail":"…"}
[[nodiscard]] std::string write_refusal(RefusalKind kind, std::string_view detail);

/// What a client reads of it.
struct Refusal {
  std::string kind;  // what follows the last slash of `type`
  std::string detail;
};
/// `type` and `detail` are required, other members ignored.
[[nodiscard]] Result<Refusal> parse_refusal(std::string_view text);

}  // namespace cloister::rcar
