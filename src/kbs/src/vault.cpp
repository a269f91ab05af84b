#include "cloister/kbs/vault.hpp"

#include "leaves.hpp"

namespace cloister::kbs {

Result<std::uint64_t> Vault::put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(version, resources_.put(transaction, options_.tenant, path.str(), value, now));
  auto leaf = leaf_of(kStored, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"version", version}, {"by", std::string{who}}};
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  CLOISTER_CHECK(transaction.commit());
  return version;
}

Result<void> Vault::remove(const rcar::ResourcePath& path, std::string_view who, UnixTime now) {
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_CHECK(resources_.remove(transaction, options_.tenant, path.str()));
  auto leaf = leaf_of(kRemoved, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"by", std::string{who}}};
  CLOISTER_TRY(index, services_.log.append(transaction, leaf));
  static_cast<void>(index);
  return transaction.commit();
}

Result<std::vector<storage::Resources::Info>> Vault::list() const {
  CLOISTER_TRY(snapshot, services_.database.read());
  return resources_.list(snapshot, options_.tenant);
}

Result<storage::Resources::Value> Vault::get(const rcar::ResourcePath& path) {
  CLOISTER_TRY(snapshot, services_.database.read());
  return resources_.get(snapshot, options_.tenant, path.str());
}

}  // namespace cloister::kbs
