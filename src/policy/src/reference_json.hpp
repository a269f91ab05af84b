#pragma once

#include <string>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/policy/policy.hpp"

/// JSON forms that policies and trust files share.
namespace cloister::policy {

/// "sha256:" and 64 lower-case hex digits.
[[nodiscard]] std::string sha256_text(const Digest32& digest);
[[nodiscard]] Digest32 sha256_member(codec::json::Fields& fields, std::string_view name);

}  // namespace cloister::policy
