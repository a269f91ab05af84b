#include "cloister/storage/broker_rules.hpp"

#include "rows.hpp"

namespace cloister::storage::broker_rules {
namespace {

constexpr Sql kSet{
    "INSERT INTO broker_policy (tenant, kind, name, scope, text, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
    "ON CONFLICT (tenant, kind, name) DO UPDATE SET scope = excluded.scope, text = excluded.text, changed = excluded.changed"};
constexpr Sql kRemove{"DELETE FROM broker_policy WHERE tenant = ?1 AND kind = ?2 AND name = ?3"};
constexpr Sql kAll{"SELECT kind, name, scope, text, changed FROM broker_policy WHERE tenant = ?1 ORDER BY kind, name"};
constexpr Sql kEverywhere{"SELECT tenant, kind, name, scope, text, changed FROM broker_policy ORDER BY tenant, kind, name"};
constexpr Sql kAllValues{"SELECT tenant, text FROM reference_values ORDER BY tenant"};
constexpr Sql kValues{"SELECT text FROM reference_values WHERE tenant = ?1"};
constexpr Sql kSetValues{
    "INSERT INTO reference_values (tenant, text) VALUES (?1, ?2) ON CONFLICT (tenant) DO UPDATE SET text = excluded.text"};

Policy read(Rows& rows) {
  Policy out;
  out.kind = rows.text();
  out.name = rows.text();
  out.scope = rows.text();
  out.text = rows.text();
  out.changed = rows.time();
  return out;
}

}  // namespace

Result<void> set(Transaction& transaction, const TenantId& tenant, const Policy& policy) {
  CLOISTER_CHECK(transaction.run(kSet, {tenant, policy.kind, policy.name, policy.scope, policy.text, policy.changed}));
  return {};
}

Result<void> remove(Transaction& transaction, const TenantId& tenant, std::string_view kind, std::string_view name) {
  return need_change(transaction.run(kRemove, {tenant, kind, name}), "policy");
}

Result<std::vector<Policy>> policies(const Reading& reading, const TenantId& tenant) {
  return read_all(reading, kAll, {tenant}, read);
}

Result<std::vector<OfTenant>> policies(const Reading& reading) {
  return read_all(reading, kEverywhere, {}, [](Rows& rows) {
    auto tenant = rows.text();
    return OfTenant{std::move(tenant), read(rows)};
  });
}

Result<std::vector<std::pair<std::string, std::string>>> reference_values(const Reading& reading) {
  return read_all(reading, kAllValues, {}, [](Rows& rows) {
    auto tenant = rows.text();
    return std::pair{std::move(tenant), rows.text()};
  });
}

Result<std::optional<std::string>> reference_values(const Reading& reading, const TenantId& tenant) {
  auto text = read_one(reading, "reference values", kValues, {tenant}, [](Rows& rows) { return rows.text(); });
  if (text) return std::optional{*std::move(text)};
  if (text.error().code() == Errc::not_found) return std::optional<std::string>{};
  return text.error();
}

Result<void> set_reference_values(Transaction& transaction, const TenantId& tenant, std::string_view values) {
  CLOISTER_CHECK(transaction.run(kSetValues, {tenant, values}));
  return {};
}

}  // namespace cloister::storage::broker_rules
