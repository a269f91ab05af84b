#pragma once

#include "cloister/codec/json.hpp"
#include "cloister/policy/policy.hpp"

/// The JSON form of what a policy demands of SNP guests.
namespace cloister::policy {

/// Errors name the member.
[[nodiscard]] Result<SnpPolicy> read_snp_policy(const codec::json::Value& value);
/// Every member, in a fixed order.
[[nodiscard]] codec::json::Value to_json(const SnpPolicy& policy);

}  // namespace cloister::policy
