#pragma once

#include "cloister/codec/json.hpp"
#include "cloister/policy/policy.hpp"

/// The JSON form of what a policy demands of Intel's platforms.
namespace cloister::policy {

/// Errors name the member.
[[nodiscard]] Result<DcapPolicy> read_dcap_policy(const codec::json::Value& value);
/// Every member, in a fixed order.
[[nodiscard]] codec::json::Value to_json(const DcapPolicy& policy);

}  // namespace cloister::policy
