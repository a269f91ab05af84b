#include "cloister/storage/challenges.hpp"

#include "cloister/codec/json.hpp"
#include "rows.hpp"

namespace cloister::storage::challenges {
namespace {

#define CLOISTER_VERSION_COLUMNS "c.tenant, v.id, v.spec, v.configuration, v.reference, v.active, v.registered"

constexpr Sql kAddChallenge{"INSERT INTO challenge (id, tenant, created) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"};
constexpr Sql kChallenge{"SELECT id, tenant, created FROM challenge WHERE id = ?1"};
constexpr Sql kChallenges{"SELECT id, tenant, created FROM challenge WHERE ?1 IS NULL OR tenant = ?1 ORDER BY id"};
constexpr Sql kAddVersion{
    "INSERT INTO version (id, challenge, spec, configuration, reference, active, registered) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"};
constexpr Sql kSetActive{"UPDATE version SET active = ?2 WHERE id = ?1"};
constexpr Sql kVersion{"SELECT " CLOISTER_VERSION_COLUMNS
                       " FROM version v JOIN challenge c ON c.id = v.challenge WHERE v.id = ?1"};
constexpr Sql kVersions{"SELECT " CLOISTER_VERSION_COLUMNS
                        " FROM version v JOIN challenge c ON c.id = v.challenge WHERE v.challenge = ?1"
                        " ORDER BY v.registered DESC, v.rowid DESC"};
constexpr Sql kActiveVersions{"SELECT " CLOISTER_VERSION_COLUMNS
                              " FROM version v JOIN challenge c ON c.id = v.challenge WHERE v.active = 1"
                              " ORDER BY v.registered DESC, v.rowid DESC"};
#undef CLOISTER_VERSION_COLUMNS

Challenge read_challenge(Rows& rows) {
  Challenge challenge;
  challenge.id = rows.id<ChallengeId>();
  challenge.tenant = rows.id<TenantId>();
  challenge.created = rows.time();
  return challenge;
}

/// A text column that holds a value's JSON.
template <class T>
T read_json(Rows& rows, Result<T> (*parse)(const codec::json::Value&)) {
  const auto value = codec::json::parse(rows.text());
  auto parsed = value ? parse(*value) : Result<T>{value.error()};
  if (parsed) return *std::move(parsed);
  rows.fail(parsed.error().text());
  return {};
}

StoredVersion read_version(Rows& rows) {
  StoredVersion stored;
  stored.tenant = rows.id<TenantId>();
  stored.version.id = rows.id<VersionId>();
  stored.version.spec = read_json(rows, model::parse_challenge_spec);
  stored.version.configuration = rows.bytes();
  stored.version.reference = read_json(rows, model::parse_reference_value);
  stored.version.active = rows.boolean();
  stored.version.registered = rows.time();
  return stored;
}

}  // namespace

Result<bool> add(Transaction& transaction, const TenantId& tenant, const model::Version& version) {
  CLOISTER_CHECK(transaction.run(kAddChallenge, {version.spec.challenge, tenant, version.registered}));
  CLOISTER_TRY(challenge, get(transaction, version.spec.challenge));
  if (challenge.tenant != tenant) return Error{Errc::conflict, "the challenge belongs to another tenant"};
  const auto spec = codec::json::write(model::to_json(version.spec));
  const auto reference = codec::json::write(model::to_json(version.reference));
  CLOISTER_TRY(added, transaction.run(kAddVersion, {version.id, version.spec.challenge, spec, version.configuration,
                                                    reference, version.active, version.registered}));
  if (added != 0) return true;
  CLOISTER_TRY(present, challenges::version(transaction, version.id));
  const auto& known = present.version;
  if (known.spec == version.spec && known.configuration == version.configuration &&
      known.reference == version.reference) {
    return false;
  }
  return Error{Errc::conflict, "version " + version.id.str() + " is registered, and is a different one"};
}

Result<void> set_active(Transaction& transaction, const VersionId& version, bool active) {
  return need_change(transaction.run(kSetActive, {version, active}), "version");
}

Result<Challenge> get(const Reading& reading, const ChallengeId& challenge) {
  return read_one(reading, "challenge", kChallenge, {challenge}, read_challenge);
}

Result<std::vector<Challenge>> list(const Reading& reading, const std::optional<TenantId>& tenant) {
  return read_all(reading, kChallenges, {tenant}, read_challenge);
}

Result<StoredVersion> version(const Reading& reading, const VersionId& version) {
  return read_one(reading, "version", kVersion, {version}, read_version);
}

Result<std::vector<StoredVersion>> versions(const Reading& reading, const ChallengeId& challenge) {
  return read_all(reading, kVersions, {challenge}, read_version);
}

Result<std::vector<StoredVersion>> active_versions(const Reading& reading) {
  return read_all(reading, kActiveVersions, {}, read_version);
}

}  // namespace cloister::storage::challenges
