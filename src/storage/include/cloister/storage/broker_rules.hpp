#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/storage/database.hpp"

/// What administrators of a tenant set for the key broker: policies by name, and reference values. Texts that the caller
/// has checked; nothing of it is secret.
namespace cloister::storage::broker_rules {

inline constexpr std::string_view kResource = "resource";
inline constexpr std::string_view kAttestation = "attestation";

struct Policy {
  std::string kind;   // one of those above
  std::string name;
  std::string scope;  // what it holds for: empty for everything
  std::string text;
  UnixTime changed{};
};
/// Sets or replaces the policy of that kind and name.
[[nodiscard]] Result<void> set(Transaction& transaction, const TenantId& tenant, const Policy& policy);
/// `not_found`.
[[nodiscard]] Result<void> remove(Transaction& transaction, const TenantId& tenant, std::string_view kind, std::string_view name);
/// By kind and name.
[[nodiscard]] Result<std::vector<Policy>> policies(const Reading& reading, const TenantId& tenant);

/// Of every tenant.
struct OfTenant {
  std::string tenant;
  Policy policy;
};
[[nodiscard]] Result<std::vector<OfTenant>> policies(const Reading& reading);

/// All of them, as the JSON object that was set; nothing where none were.
[[nodiscard]] Result<std::optional<std::string>> reference_values(const Reading& reading, const TenantId& tenant);
[[nodiscard]] Result<void> set_reference_values(Transaction& transaction, const TenantId& tenant, std::string_view values);
/// Of every tenant that has any: its name, and its values.
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> reference_values(const Reading& reading);

}  // namespace cloister::storage::broker_rules
