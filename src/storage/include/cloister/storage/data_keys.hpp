#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/sealing.hpp"

/// What becomes of values that are sealed under a tenant's older data keys: `Sealer::rotate` makes a new one, step by step
/// every value is sealed again, and then the older ones are forgotten. Values in `setting` are their owners' to seal again.
namespace cloister::storage::data_keys {

/// The tables whose values are sealed again: every one that holds any, or a rotation would end with values that no key opens.
[[nodiscard]] std::vector<std::string_view> tables();

struct Status {
  std::optional<std::string> active;  // what is sealed now is under this one; nothing before the first value
  std::uint64_t older = 0;            // keys beside it
  std::uint64_t remaining = 0;        // values under those
};
[[nodiscard]] Result<Status> status(const Reading& reading, const TenantId& tenant);

/// How much is sealed again in one transaction; one value at least.
inline constexpr std::uint32_t kStepValues = 128;
inline constexpr std::size_t kStepBytes = 4U << 20;
/// Seals values of the tenant's secrets, sessions and resources again that are under an older key; returns how many.
/// `decryption_failed` when one of them does not open.
[[nodiscard]] Result<std::uint64_t> reseal_some(Transaction& transaction, Sealer& sealer, const TenantId& tenant);

/// Erases the older keys; returns how many. `conflict` while values remain under them.
[[nodiscard]] Result<std::uint64_t> retire(Transaction& transaction, Sealer& sealer, const TenantId& tenant);

}  // namespace cloister::storage::data_keys
