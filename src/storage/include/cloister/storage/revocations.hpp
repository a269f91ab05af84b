#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/storage/database.hpp"

/// What was revoked of guests: texts that the caller has checked. Nothing of it is secret.
namespace cloister::storage::revocations {

/// Whose guests an entry is about: one tenant's; nothing: those of all.
using Scope = std::optional<TenantId>;

struct Record {
  std::string id;
  std::string kind;
  std::string value;
  std::string reason;
  std::string by;  // the operator's name
  UnixTime created{};
  std::optional<UnixTime> expires;  // at which it does not hold any more; nothing: until it is lifted
};
/// `conflict` when that value of that kind is there already, expired or not.
[[nodiscard]] Result<void> add(Transaction& transaction, const Scope& scope, const Record& record);
/// `not_found`, also for one of another scope.
[[nodiscard]] Result<void> remove(Transaction& transaction, const Scope& scope, std::string_view id);
/// Those that hold at `now`, newest first.
[[nodiscard]] Result<std::vector<Record>> list(const Reading& reading, const Scope& scope, UnixTime now);
/// Every one that is kept, expired or not, of all scopes.
struct Scoped {
  std::string tenant;  // empty: of all
  Record record;
};
[[nodiscard]] Result<std::vector<Scoped>> all(const Reading& reading);
/// How many hold, by kind, of all scopes.
struct Count {
  std::string kind;
  bool everywhere = false;  // about the guests of all tenants
  std::uint64_t entries = 0;
};
[[nodiscard]] Result<std::vector<Count>> count(const Reading& reading, UnixTime now);
/// Forgets expired ones, at `now` or before; returns how many.
[[nodiscard]] Result<std::uint64_t> sweep(Transaction& transaction, UnixTime now);

}  // namespace cloister::storage::revocations
