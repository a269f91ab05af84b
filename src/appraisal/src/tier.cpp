#include "cloister/appraisal/tier.hpp"

namespace cloister::appraisal {

std::string_view to_string(Tier tier) noexcept {
  switch (tier) {
    case Tier::none: return "none";
    case Tier::affirming: return "affirming";
    case Tier::warning: return "warning";
    case Tier::contraindicated: return "contraindicated";
  }
  return "";
}

std::optional<Tier> tier_from_string(std::string_view name) noexcept {
  for (const auto tier : {Tier::none, Tier::affirming, Tier::warning, Tier::contraindicated}) {
    if (to_string(tier) == name) return tier;
  }
  return std::nullopt;
}

Tier tier_of(std::int8_t claim) noexcept {
  if (claim >= -1 && claim <= 1) return Tier::none;
  if (claim >= -32 && claim <= 31) return Tier::affirming;
  if (claim >= -96 && claim <= 95) return Tier::warning;
  return Tier::contraindicated;
}

}  // namespace cloister::appraisal
