#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

/// How much trustworthiness claims vouch for (draft-ietf-rats-ar4si, section 2.3.2).
namespace cloister::appraisal {

/// From best to worst of what was claimed.
enum class Tier { none, affirming, warning, contraindicated };
[[nodiscard]] std::string_view to_string(Tier tier) noexcept;
[[nodiscard]] std::optional<Tier> tier_from_string(std::string_view name) noexcept;
/// The tier of a trustworthiness claim: -1 to 1 none, 2 to 31 and -32 to -2 affirming, 32 to 95 and -96 to -33 warning,
/// 96 to 127 and -128 to -97 contraindicated.
[[nodiscard]] Tier tier_of(std::int8_t claim) noexcept;

}  // namespace cloister::appraisal
