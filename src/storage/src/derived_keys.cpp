#include "cloister/storage/derived_keys.hpp"

#include <algorithm>
#include <string>

#include "cloister/codec/json.hpp"
#include "rows.hpp"

namespace cloister::storage {
namespace {

constexpr Sql kAdd{"INSERT INTO derived_key (tenant, challenge, purpose, version, state) VALUES (?1, ?2, ?3, ?4, ?5)"};
constexpr Sql kVersions{
    "SELECT challenge, purpose, version, state FROM derived_key WHERE tenant = ?1 AND challenge = ?2 AND purpose = ?3 "
    "ORDER BY version"};
constexpr Sql kList{
    "SELECT challenge, purpose, version, state FROM derived_key WHERE tenant = ?1 ORDER BY challenge, purpose, "
    "version"};
constexpr Sql kReplace{
    "UPDATE derived_key SET state = ?5 WHERE tenant = ?1 AND challenge = ?2 AND purpose = ?3 AND version = ?4"};

/// Ids hold no slash, so that no two keys have one name.
std::string name_of(const ChallengeId& challenge, std::string_view purpose) {
  return challenge.str() + '/' + std::string{purpose};
}

Error corrupt(const ChallengeId& challenge, std::string_view purpose, std::uint64_t version, std::string_view what) {
  return Error{Errc::storage_corrupt, "derived key " + name_of(challenge, purpose) + " version " +
                                          std::to_string(version) + ": " + std::string{what} +
                                          "; restore the database from a backup (cloister audit has what was done)"};
}

}  // namespace

struct DerivedKeys::Row {
  ChallengeId challenge;
  std::string purpose;
  std::uint64_t version = 0;
  Bytes state;
  static Row read(Rows& rows) {
    Row row;
    row.challenge = rows.id<ChallengeId>();
    row.purpose = rows.text();
    row.version = rows.uint();
    row.state = rows.bytes();
    return row;
  }
};

Result<Bytes> DerivedKeys::seal(Transaction& transaction, const TenantId& tenant, const ChallengeId& challenge,
                                std::string_view purpose, const model::DerivedKeyVersion& version) {
  const auto name = name_of(challenge, purpose);
  return sealer_.seal(transaction, tenant, {"derived_key", name, "state", version.version},
                      as_bytes(codec::json::write(model::to_json(version))));
}

Result<model::DerivedKeyVersion> DerivedKeys::open(const Reading& reading, const TenantId& tenant, const Row& row) {
  const auto name = name_of(row.challenge, row.purpose);
  const auto text = sealer_.open(reading, tenant, {"derived_key", name, "state", row.version}, row.state);
  if (!text) {
    if (text.error().code() != Errc::decryption_failed) return text.error();
    return corrupt(row.challenge, row.purpose, row.version, "its row was changed or stood elsewhere");
  }
  const auto json = codec::json::parse(as_text(text->reveal()));
  auto version = json ? model::parse_derived_key_version(*json) : Result<model::DerivedKeyVersion>{json.error()};
  if (!version || version->version != row.version) {
    return corrupt(row.challenge, row.purpose, row.version, "its row holds something else");
  }
  return version;
}

Result<void> DerivedKeys::add(Transaction& transaction, const TenantId& tenant, const ChallengeId& challenge,
                              std::string_view purpose, const model::DerivedKeyVersion& version) {
  CLOISTER_TRY(state, seal(transaction, tenant, challenge, purpose, version));
  CLOISTER_CHECK(transaction.run(kAdd, {tenant, challenge, purpose, version.version, state}));
  return {};
}

Result<std::vector<model::DerivedKeyVersion>> DerivedKeys::versions(const Reading& reading, const TenantId& tenant,
                                                                    const ChallengeId& challenge,
                                                                    std::string_view purpose) {
  CLOISTER_TRY(rows, read_all(reading, kVersions, {tenant, challenge, purpose}, Row::read));
  std::vector<model::DerivedKeyVersion> out;
  for (const auto& row : rows) {
    CLOISTER_TRY(version, open(reading, tenant, row));
    out.push_back(std::move(version));
  }
  return out;
}

Result<std::vector<model::DerivedKey>> DerivedKeys::list(const Reading& reading, const TenantId& tenant) {
  CLOISTER_TRY(rows, read_all(reading, kList, {tenant}, Row::read));
  std::vector<model::DerivedKey> out;
  for (const auto& row : rows) {
    CLOISTER_TRY(version, open(reading, tenant, row));
    if (out.empty() || out.back().challenge != row.challenge || out.back().purpose != row.purpose) {
      out.push_back({row.challenge, row.purpose, {}});
    }
    out.back().versions.push_back(std::move(version));
  }
  return out;
}

Result<void> DerivedKeys::revoke(Transaction& transaction, const TenantId& tenant, const ChallengeId& challenge,
                                 std::string_view purpose, std::uint64_t version, UnixTime now) {
  CLOISTER_TRY(all, versions(transaction, tenant, challenge, purpose));
  const auto found = std::ranges::find(all, version, &model::DerivedKeyVersion::version);
  if (found == all.end()) return Error{Errc::not_found, "derived key"};
  if (found->revoked) return Error{Errc::conflict, "this version is revoked already"};
  found->revoked = now;
  CLOISTER_TRY(state, seal(transaction, tenant, challenge, purpose, *found));
  return need_change(transaction.run(kReplace, {tenant, challenge, purpose, version, state}), "derived key");
}

}  // namespace cloister::storage
