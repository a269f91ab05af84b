#include "cloister/keyring/data_keys.hpp"

#include <string>

namespace cloister::keyring {
namespace {

constexpr std::string_view kRotated = "data_key.rotated";
constexpr std::string_view kRetired = "data_key.retired";

merkle::AuditLeaf leaf_of(std::string_view kind, const TenantId& tenant, UnixTime now, std::string_view by) {
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kind;
  leaf.subject = tenant.str();
  leaf.details = {{"by", std::string{by}}};
  return leaf;
}

}  // namespace

TenantId server_tenant() { return *TenantId::parse("system"); }

Result<DataKeys::Status> DataKeys::status(const TenantId& tenant) const {
  CLOISTER_TRY(snapshot, keyring_.services_.database.read());
  return storage::data_keys::status(snapshot, tenant);
}

Result<DataKeys::Status> DataKeys::rotate(const TenantId& tenant, UnixTime now, std::string_view by) {
  const auto& services = keyring_.services_;
  CLOISTER_TRY(transaction, services.database.write());
  CLOISTER_TRY(before, storage::data_keys::status(transaction, tenant));
  if (!before.active) return Error{Errc::not_found, "nothing of the tenant " + tenant.str() + " is stored yet, so that it has no data key"};
  CLOISTER_TRY(key, services.sealer.rotate(transaction, tenant));
  auto leaf = leaf_of(kRotated, tenant, now, by);
  leaf.details.emplace_back("key", key);
  CLOISTER_CHECK(services.log.append(transaction, leaf));
  CLOISTER_TRY(status, storage::data_keys::status(transaction, tenant));
  CLOISTER_CHECK(transaction.commit());
  return status;
}

Result<DataKeys::Step> DataKeys::step(const TenantId& tenant, UnixTime now, std::string_view by) {
  const auto& services = keyring_.services_;
  Step out;
  {
    CLOISTER_TRY(transaction, services.database.write());
    CLOISTER_TRY(resealed, storage::data_keys::reseal_some(transaction, services.sealer, tenant));
    out.resealed = resealed;
    CLOISTER_TRY(left, storage::data_keys::status(transaction, tenant));
    CLOISTER_CHECK(transaction.commit());
    out.left = std::move(left);
  }
  if (out.left.remaining == 0 && out.left.older > 0) {
    CLOISTER_TRY(retired, retire(tenant, now, by));
    out.retired = retired;
    CLOISTER_TRY(left, status(tenant));
    out.left = std::move(left);
  }
  return out;
}

Result<std::uint64_t> DataKeys::retire(const TenantId& tenant, UnixTime now, std::string_view by) {
  const auto& services = keyring_.services_;
  std::uint64_t erased = 0;
  const auto act = [&](storage::Transaction& transaction) -> Result<void> {
    CLOISTER_TRY(done, storage::data_keys::retire(transaction, services.sealer, tenant));
    erased = done;
    auto leaf = leaf_of(kRetired, tenant, now, by);
    leaf.details.emplace_back("keys", erased);
    CLOISTER_CHECK(services.log.append(transaction, leaf));
    return {};
  };
  if (tenant == server_tenant()) {
    CLOISTER_CHECK(keyring_.reseal(act));
  } else {
    CLOISTER_TRY(transaction, services.database.write());
    CLOISTER_CHECK(act(transaction));
    CLOISTER_CHECK(transaction.commit());
  }
  static_cast<void>(services.database.empty_log());  // what stays in the log goes by and by
  return erased;
}

}  // namespace cloister::keyring
