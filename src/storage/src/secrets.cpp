#include "cloister/storage/secrets.hpp"

#include "cloister/model/challenge.hpp"
#include "rows.hpp"

namespace cloister::storage {
namespace {

constexpr Sql kLastVersion{"SELECT COALESCE(MAX(version), 0) FROM secret WHERE tenant = ?1 AND path = ?2"};
constexpr Sql kAdd{"INSERT INTO secret (tenant, path, version, value, created) VALUES (?1, ?2, ?3, ?4, ?5)"};
constexpr Sql kGet{
    "SELECT version, created, value FROM secret WHERE tenant = ?1 AND path = ?2 AND (?3 IS NULL OR version = ?3) "
    "AND value IS NOT NULL ORDER BY version DESC LIMIT 1"};
constexpr Sql kList{
    "SELECT path, MAX(version), created FROM secret WHERE tenant = ?1 AND value IS NOT NULL GROUP BY path "
    "ORDER BY path"};
constexpr Sql kErase{"UPDATE secret SET value = NULL WHERE tenant = ?1 AND path = ?2 AND value IS NOT NULL"};

Cell cell_of(std::string_view path, std::uint64_t version) { return {"secret", path, "value", version}; }

struct Sealed {
  Secrets::Info info;
  Bytes value;
};

}  // namespace

Result<std::uint64_t> Secrets::put(Transaction& transaction, const TenantId& tenant, std::string_view path,
                                   ByteView value, UnixTime now) {
  if (!model::valid_secret_path(path)) {
    return Error{Errc::invalid_argument, "secret path: 1 to 4 ids joined by '/' expected"};
  }
  if (value.size() > kMaxValue) {
    return Error{Errc::limit_exceeded, "secret: at most " + std::to_string(kMaxValue) + " bytes expected"};
  }
  CLOISTER_TRY(last,
               read_one(transaction, "secret", kLastVersion, {tenant, path}, [](Rows& rows) { return rows.uint(); }));
  const auto version = last + 1;
  CLOISTER_TRY(sealed, sealer_.seal(transaction, tenant, cell_of(path, version), value));
  CLOISTER_CHECK(transaction.run(kAdd, {tenant, path, version, sealed, now}));
  return version;
}

Result<Secrets::Value> Secrets::get(const Reading& reading, const TenantId& tenant, std::string_view path,
                                    std::optional<std::uint64_t> version) {
  const auto read = [&](Rows& rows) {
    Sealed row;
    row.info = {std::string{path}, rows.uint(), rows.time()};
    row.value = rows.bytes();
    return row;
  };
  CLOISTER_TRY(row, read_one(reading, "secret", kGet, {tenant, path, version}, read));
  CLOISTER_TRY(value, sealer_.open(reading, tenant, cell_of(path, row.info.version), row.value));
  return Value{std::move(row.info), std::move(value)};
}

Result<std::vector<Secrets::Info>> Secrets::list(const Reading& reading, const TenantId& tenant) const {
  return read_all(reading, kList, {tenant}, [](Rows& rows) {
    Info info;
    info.path = rows.text();
    info.version = rows.uint();
    info.created = rows.time();
    return info;
  });
}

Result<void> Secrets::remove(Transaction& transaction, const TenantId& tenant, std::string_view path) {
  return need_change(transaction.run(kErase, {tenant, path}), "secret");
}

}  // namespace cloister::storage
