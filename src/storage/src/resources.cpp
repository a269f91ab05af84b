#include "cloister/storage/resources.hpp"

#include "rows.hpp"

namespace cloister::storage {
namespace {

constexpr Sql kLastVersion{"SELECT COALESCE(MAX(version), 0) FROM resource WHERE tenant = ?1 AND path = ?2"};
constexpr Sql kAdd{"INSERT INTO resource (tenant, path, version, value, created) VALUES (?1, ?2, ?3, ?4, ?5)"};
constexpr Sql kGet{
    "SELECT version, created, value FROM resource WHERE tenant = ?1 AND path = ?2 AND value IS NOT NULL "
    "ORDER BY version DESC LIMIT 1"};
constexpr Sql kList{
    "SELECT path, MAX(version), created FROM resource WHERE tenant = ?1 AND value IS NOT NULL GROUP BY path ORDER BY path"};
constexpr Sql kErase{"UPDATE resource SET value = NULL WHERE tenant = ?1 AND path = ?2 AND value IS NOT NULL"};

Cell cell_of(std::string_view path, std::uint64_t version) { return {"resource", path, "value", version}; }

struct Sealed {
  Resources::Info info;
  Bytes value;
};

}  // namespace

Result<std::uint64_t> Resources::put(Transaction& transaction, const TenantId& tenant, std::string_view path, ByteView value,
                                     UnixTime now) {
  if (value.size() > kMaxValue) {
    return Error{Errc::limit_exceeded, "resource: at most " + std::to_string(kMaxValue) + " bytes expected"};
  }
  CLOISTER_TRY(last, read_one(transaction, "resource", kLastVersion, {tenant, path}, [](Rows& rows) { return rows.uint(); }));
  const auto version = last + 1;
  CLOISTER_TRY(sealed, sealer_.seal(transaction, tenant, cell_of(path, version), value));
  CLOISTER_CHECK(transaction.run(kAdd, {tenant, path, version, sealed, now}));
  return version;
}

Result<Resources::Value> Resources::get(const Reading& reading, const TenantId& tenant, std::string_view path) {
  const auto read = [&](Rows& rows) {
    Sealed row;
    row.info = {std::string{path}, rows.uint(), rows.time()};
    row.value = rows.bytes();
    return row;
  };
  CLOISTER_TRY(row, read_one(reading, "resource", kGet, {tenant, path}, read));
  CLOISTER_TRY(value, sealer_.open(reading, tenant, cell_of(path, row.info.version), row.value));
  return Value{std::move(row.info), std::move(value)};
}

Result<std::vector<Resources::Info>> Resources::list(const Reading& reading, const TenantId& tenant) const {
  return read_all(reading, kList, {tenant}, [](Rows& rows) {
    Info info;
    info.path = rows.text();
    info.version = rows.uint();
    info.created = rows.time();
    return info;
  });
}

Result<void> Resources::remove(Transaction& transaction, const TenantId& tenant, std::string_view path) {
  return need_change(transaction.run(kErase, {tenant, path}), "resource");
}

}  // namespace cloister::storage
