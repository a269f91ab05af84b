#include "cloister/storage/resources.hpp"

#include "cloister/codec/json.hpp"
#include "rows.hpp"

namespace cloister::storage {
namespace {

namespace json = codec::json;

// `resource` has the versions, `resource_head` what is said of all of them; `present` is 0 once it was purged.
constexpr Sql kInfo{
    "SELECT path, last, current, created, deleted, labels, generator, pending, keep FROM resource_head "
    "WHERE tenant = ?1 AND path = ?2 AND present = 1"};
constexpr Sql kList{
    "SELECT path, last, current, created, deleted, labels, generator, pending, keep FROM resource_head "
    "WHERE tenant = ?1 AND present = 1 ORDER BY path"};
constexpr Sql kVersions{
    "SELECT version, created, size, generated, value IS NULL, deleted FROM resource WHERE tenant = ?1 AND path = ?2 "
    "ORDER BY version DESC"};
constexpr Sql kVersion{
    "SELECT version, created, size, generated, value IS NULL, deleted FROM resource WHERE tenant = ?1 AND path = ?2 AND version = ?3"};
constexpr Sql kLabelled{"SELECT EXISTS (SELECT 1 FROM resource_head WHERE tenant = ?1 AND present = 1 AND labels <> '{}')"};
constexpr Sql kUsage{
    "SELECT (SELECT COUNT(*) FROM resource_head WHERE tenant = ?1 AND present = 1), "
    "(SELECT COALESCE(SUM(size + ?2), 0) FROM resource INDEXED BY resource_by_size WHERE tenant = ?1 AND value IS NOT NULL) + "
    "(SELECT COALESCE(SUM(pending + ?2), 0) FROM resource_head WHERE tenant = ?1 AND present = 1 AND pending > 0)"};
constexpr Sql kGet{
    "SELECT v.version, v.value FROM resource_head h JOIN resource v "
    "ON v.tenant = h.tenant AND v.path = h.path AND v.version = COALESCE(?3, h.current) "
    "WHERE h.tenant = ?1 AND h.path = ?2 AND h.present = 1 AND h.deleted IS NULL AND v.deleted IS NULL AND v.value IS NOT NULL"};
constexpr Sql kLast{"SELECT COALESCE(MAX(last), 0) FROM resource_head WHERE tenant = ?1 AND path = ?2"};
constexpr Sql kAdd{
    "INSERT INTO resource (tenant, path, version, value, created, size, generated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
constexpr Sql kPutHead{
    "INSERT INTO resource_head (tenant, path, present, last, current, created, labels, pending) "
    "VALUES (?1, ?2, 1, ?3, ?3, ?4, '{}', 0) ON CONFLICT (tenant, path) DO UPDATE SET last = excluded.last, "
    "current = excluded.current, pending = 0, created = CASE present WHEN 1 THEN created ELSE excluded.created END, present = 1"};
constexpr Sql kDeclare{
    "INSERT INTO resource_head (tenant, path, present, last, created, labels, generator, pending) "
    "VALUES (?1, ?2, 1, 0, ?3, '{}', ?4, ?5) ON CONFLICT (tenant, path) DO UPDATE SET present = 1, created = excluded.created, "
    "generator = excluded.generator, pending = excluded.pending WHERE present = 0"};
constexpr Sql kSetCurrent{
    "UPDATE resource_head SET current = ?3 WHERE tenant = ?1 AND path = ?2 AND present = 1 AND EXISTS "
    "(SELECT 1 FROM resource v WHERE v.tenant = ?1 AND v.path = ?2 AND v.version = ?3 AND v.value IS NOT NULL)"};
constexpr Sql kSetLabels{"UPDATE resource_head SET labels = ?3 WHERE tenant = ?1 AND path = ?2 AND present = 1"};
constexpr Sql kSetKeep{"UPDATE resource_head SET keep = ?3 WHERE tenant = ?1 AND path = ?2 AND present = 1"};
constexpr Sql kSetDeleted{"UPDATE resource_head SET deleted = ?3 WHERE tenant = ?1 AND path = ?2 AND present = 1"};
constexpr Sql kSetVersionDeleted{
    "UPDATE resource SET deleted = ?4 WHERE tenant = ?1 AND path = ?2 AND version = ?3 AND value IS NOT NULL"};
constexpr Sql kPurgeVersion{
    "UPDATE resource SET value = NULL, size = 0 WHERE tenant = ?1 AND path = ?2 AND version = ?3 AND value IS NOT NULL"};
constexpr Sql kNoCurrent{"UPDATE resource_head SET current = NULL WHERE tenant = ?1 AND path = ?2 AND current = ?3"};
constexpr Sql kPurgeAll{"UPDATE resource SET value = NULL, size = 0 WHERE tenant = ?1 AND path = ?2 AND value IS NOT NULL"};
constexpr Sql kForget{
    "UPDATE resource_head SET present = 0, current = NULL, deleted = NULL, labels = '{}', generator = NULL, pending = 0, "
    "keep = NULL WHERE tenant = ?1 AND path = ?2 AND present = 1"};
constexpr Sql kOlder{
    "SELECT version FROM resource v WHERE tenant = ?1 AND path = ?2 AND value IS NOT NULL AND version IS NOT "
    "(SELECT current FROM resource_head WHERE tenant = ?1 AND path = ?2) "
    "AND version NOT IN (SELECT version FROM resource WHERE tenant = ?1 AND path = ?2 AND value IS NOT NULL "
    "ORDER BY version DESC LIMIT ?3) ORDER BY version"};

Cell cell_of(std::string_view path, std::uint64_t version) { return {"resource", path, "value", version}; }

std::string write(const Resources::Labels& labels) {
  json::Object out;
  for (const auto& [name, value] : labels) out.emplace_back(name, value);
  return json::write(std::move(out));
}

Resources::Labels read_labels(Rows& rows) {
  Resources::Labels out;
  const auto parsed = json::parse(rows.text());
  if (!parsed || parsed->as_object() == nullptr) {
    rows.fail("labels expected");
    return out;
  }
  for (const auto& [name, value] : *parsed->as_object()) {
    if (value.as_string() == nullptr) rows.fail("a label's text expected");
    else out.emplace(name, *value.as_string());
  }
  return out;
}

std::optional<std::uint64_t> optional_uint(Rows& rows) {
  if (rows.take_null()) return std::nullopt;
  return rows.uint();
}

Resources::Info read_info(Rows& rows) {
  Resources::Info info;
  info.path = rows.text();
  info.last = rows.uint();
  info.current = optional_uint(rows);
  info.created = rows.time();
  info.deleted = rows.optional_time();
  info.labels = read_labels(rows);
  info.generator = rows.optional_text();
  info.pending = rows.uint();
  if (const auto keep = optional_uint(rows)) {
    if (*keep == 0 || *keep > UINT32_MAX) rows.fail("a number of versions expected");
    info.keep = static_cast<std::uint32_t>(*keep);
  }
  return info;
}

Resources::Version read_version(Rows& rows) {
  Resources::Version version;
  version.number = rows.uint();
  version.created = rows.time();
  version.size = rows.uint();
  version.generated = rows.boolean();
  version.purged = rows.boolean();
  version.deleted = rows.optional_time();
  return version;
}

}  // namespace

Result<Resources::Info> Resources::info(const Reading& reading, const TenantId& tenant, std::string_view path) const {
  return read_one(reading, "resource", kInfo, {tenant, path}, read_info);
}

Result<std::vector<Resources::Info>> Resources::list(const Reading& reading, const TenantId& tenant) const {
  return read_all(reading, kList, {tenant}, read_info);
}

Result<std::vector<Resources::Version>> Resources::versions(const Reading& reading, const TenantId& tenant,
                                                            std::string_view path) const {
  return read_all(reading, kVersions, {tenant, path}, read_version);
}

Result<Resources::Version> Resources::version(const Reading& reading, const TenantId& tenant, std::string_view path,
                                              std::uint64_t number) const {
  return read_one(reading, "version", kVersion, {tenant, path, number}, read_version);
}

Result<bool> Resources::labelled(const Reading& reading, const TenantId& tenant) const {
  return read_one(reading, "resources", kLabelled, {tenant}, [](Rows& rows) { return rows.boolean(); });
}

Result<Resources::Usage> Resources::usage(const Reading& reading, const TenantId& tenant) const {
  return read_one(reading, "usage", kUsage, {tenant, kVersionBytes}, [](Rows& rows) {
    Usage usage;
    usage.resources = rows.uint();
    usage.bytes = rows.uint();
    return usage;
  });
}

Result<Resources::Sealed> Resources::sealed(const Reading& reading, const TenantId& tenant, std::string_view path,
                                            std::optional<std::uint64_t> version) const {
  return read_one(reading, "resource", kGet, {tenant, path, version}, [](Rows& rows) {
    Sealed row;
    row.version = rows.uint();
    row.value = rows.bytes();
    return row;
  });
}

Result<Resources::Value> Resources::open(const Reading& reading, const TenantId& tenant, std::string_view path, const Sealed& sealed) {
  CLOISTER_TRY(value, sealer_.open(reading, tenant, cell_of(path, sealed.version), sealed.value));
  return Value{sealed.version, std::move(value)};
}

Result<Resources::Value> Resources::open_again(const TenantId& tenant, std::string_view path, const Sealed& sealed) const {
  CLOISTER_TRY(value, sealer_.open_again(tenant, cell_of(path, sealed.version), sealed.value));
  return Value{sealed.version, std::move(value)};
}

Result<Resources::Value> Resources::get(const Reading& reading, const TenantId& tenant, std::string_view path,
                                        std::optional<std::uint64_t> version) {
  CLOISTER_TRY(found, sealed(reading, tenant, path, version));
  return open(reading, tenant, path, found);
}

Result<std::uint64_t> Resources::put(Transaction& transaction, const TenantId& tenant, std::string_view path, ByteView value,
                                     UnixTime now, bool generated) {
  if (value.size() > kMaxValue) {
    return Error{Errc::limit_exceeded, "resource: at most " + std::to_string(kMaxValue) + " bytes expected"};
  }
  CLOISTER_TRY(last, read_one(transaction, "resource", kLast, {tenant, path}, [](Rows& rows) { return rows.uint(); }));
  const auto version = last + 1;
  CLOISTER_TRY(sealed, sealer_.seal(transaction, tenant, cell_of(path, version), value));
  CLOISTER_CHECK(transaction.run(kAdd, {tenant, path, version, sealed, now, std::uint64_t{value.size()}, generated}));
  CLOISTER_CHECK(transaction.run(kPutHead, {tenant, path, version, now}));
  return version;
}

Result<void> Resources::declare(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                std::string_view generator, std::uint64_t bytes, UnixTime now) {
  CLOISTER_TRY(made, transaction.run(kDeclare, {tenant, path, now, generator, bytes}));
  if (made == 0) return Error{Errc::conflict, "there is such a resource"};
  return {};
}

Result<void> Resources::set_current(Transaction& transaction, const TenantId& tenant, std::string_view path, std::uint64_t version) {
  return need_change(transaction.run(kSetCurrent, {tenant, path, version}), "version");
}

Result<void> Resources::set_labels(Transaction& transaction, const TenantId& tenant, std::string_view path, const Labels& labels) {
  return need_change(transaction.run(kSetLabels, {tenant, path, write(labels)}), "resource");
}

Result<void> Resources::set_keep(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                 std::optional<std::uint32_t> keep) {
  return need_change(transaction.run(kSetKeep, {tenant, path, keep}), "resource");
}

Result<void> Resources::set_deleted(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                    std::optional<UnixTime> deleted) {
  return need_change(transaction.run(kSetDeleted, {tenant, path, deleted}), "resource");
}

Result<void> Resources::set_deleted(Transaction& transaction, const TenantId& tenant, std::string_view path, std::uint64_t version,
                                    std::optional<UnixTime> deleted) {
  return need_change(transaction.run(kSetVersionDeleted, {tenant, path, version, deleted}), "version");
}

Result<void> Resources::purge(Transaction& transaction, const TenantId& tenant, std::string_view path, std::uint64_t version) {
  CLOISTER_CHECK(need_change(transaction.run(kPurgeVersion, {tenant, path, version}), "version"));
  CLOISTER_CHECK(transaction.run(kNoCurrent, {tenant, path, version}));
  return {};
}

Result<void> Resources::purge(Transaction& transaction, const TenantId& tenant, std::string_view path) {
  CLOISTER_CHECK(transaction.run(kPurgeAll, {tenant, path}));
  return need_change(transaction.run(kForget, {tenant, path}), "resource");
}

Result<std::vector<std::uint64_t>> Resources::purge_older(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                                          std::uint32_t keep) {
  CLOISTER_TRY(older, read_all(transaction, kOlder, {tenant, path, keep}, [](Rows& rows) { return rows.uint(); }));
  for (const auto version : older) CLOISTER_CHECK(purge(transaction, tenant, path, version));
  return older;
}

}  // namespace cloister::storage
