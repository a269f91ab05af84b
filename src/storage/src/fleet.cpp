#include "cloister/storage/fleet.hpp"

#include "evidence_columns.hpp"
#include "rows.hpp"

namespace cloister::storage {

namespace validators {
namespace {

#define CLOISTER_VALIDATOR_COLUMNS "id, hotkey, state, capacity, enrolled, verified"

constexpr Sql kEnrol{
    "INSERT INTO validator (id, hotkey, state, capacity, enrolled, verified) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"};
constexpr Sql kGet{"SELECT " CLOISTER_VALIDATOR_COLUMNS " FROM validator WHERE id = ?1"};
constexpr Sql kByHotkey{"SELECT " CLOISTER_VALIDATOR_COLUMNS " FROM validator WHERE hotkey = ?1"};
constexpr Sql kList{"SELECT " CLOISTER_VALIDATOR_COLUMNS " FROM validator ORDER BY id"};
constexpr Sql kSetState{"UPDATE validator SET state = ?2 WHERE id = ?1"};
constexpr Sql kSetCapacity{"UPDATE validator SET capacity = ?2 WHERE id = ?1"};
constexpr Sql kVerified{"UPDATE validator SET session = ?2, verified = ?3 WHERE id = ?1"};
constexpr Sql kSession{"SELECT session FROM validator WHERE id = ?1"};
#undef CLOISTER_VALIDATOR_COLUMNS

model::Validator read_validator(Rows& rows) {
  model::Validator validator;
  validator.id = rows.id<ValidatorId>();
  validator.hotkey = rows.array<32>();
  validator.state = read_name(
      rows, +[](std::string_view text) { return model::validator_state_from(text); });
  validator.capacity = static_cast<std::uint32_t>(rows.uint());
  validator.enrolled = rows.time();
  validator.verified = rows.optional_time();
  return validator;
}

}  // namespace

Result<void> enrol(Transaction& transaction, const model::Validator& validator) {
  CLOISTER_CHECK(transaction.run(kEnrol, {validator.id, validator.hotkey, model::to_string(validator.state),
                                          validator.capacity, validator.enrolled, validator.verified}));
  return {};
}

Result<model::Validator> get(const Reading& reading, const ValidatorId& validator) {
  return read_one(reading, "validator", kGet, {validator}, read_validator);
}

Result<model::Validator> by_hotkey(const Reading& reading, const crypto::Ed25519Public& hotkey) {
  return read_one(reading, "validator", kByHotkey, {hotkey}, read_validator);
}

Result<std::vector<model::Validator>> list(const Reading& reading) {
  return read_all(reading, kList, {}, read_validator);
}

Result<void> set_state(Transaction& transaction, const ValidatorId& validator, model::ValidatorState state) {
  return need_change(transaction.run(kSetState, {validator, model::to_string(state)}), "validator");
}

Result<void> set_capacity(Transaction& transaction, const ValidatorId& validator, std::uint32_t capacity) {
  return need_change(transaction.run(kSetCapacity, {validator, capacity}), "validator");
}

Result<void> verified(Transaction& transaction, const ValidatorId& validator, const SessionId& session, UnixTime at) {
  return need_change(transaction.run(kVerified, {validator, session, at}), "validator");
}

Result<std::optional<SessionId>> session(const Reading& reading, const ValidatorId& validator) {
  return read_one(reading, "validator", kSession, {validator}, [](Rows& rows) -> std::optional<SessionId> {
    if (rows.take_null()) return std::nullopt;
    return rows.id<SessionId>();
  });
}

}  // namespace validators

namespace instances {
namespace {

#define CLOISTER_INSTANCE_COLUMNS \
  "i.id, i.version, i.validator, i.state, i.created, i.failure, i.payload_key, i.result_key"
#define CLOISTER_INSTANCE_FILTER                                                                                \
  " WHERE (?1 IS NULL OR i.version = ?1) AND (?2 IS NULL OR i.validator = ?2) AND (?3 IS NULL OR i.state = ?3)" \
  " AND (NOT ?4 OR i.state IN ('starting', 'attesting', 'ready'))"                                              \
  " AND (?5 IS NULL OR i.seq > (SELECT seq FROM instance WHERE id = ?5)) ORDER BY i.seq LIMIT COALESCE(?6, -1)"

constexpr Sql kAdd{
    "INSERT INTO instance (id, version, validator, state, created, failure) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"};
constexpr Sql kGet{"SELECT " CLOISTER_INSTANCE_COLUMNS ", " CLOISTER_EVIDENCE_COLUMNS
                   " FROM instance i LEFT JOIN evidence e ON e.session = i.session WHERE i.id = ?1"};
constexpr Sql kList{"SELECT " CLOISTER_INSTANCE_COLUMNS " FROM instance i" CLOISTER_INSTANCE_FILTER};
constexpr Sql kListWhole{"SELECT " CLOISTER_INSTANCE_COLUMNS ", " CLOISTER_EVIDENCE_COLUMNS
                         " FROM instance i LEFT JOIN evidence e ON e.session = i.session" CLOISTER_INSTANCE_FILTER};
constexpr Sql kCount{"SELECT state, COUNT(*) FROM instance GROUP BY state ORDER BY state"};
constexpr Sql kState{"SELECT state FROM instance WHERE id = ?1"};
constexpr Sql kSetState{"UPDATE instance SET state = ?2, failure = COALESCE(?3, failure) WHERE id = ?1"};
constexpr Sql kVerified{
    "UPDATE instance SET session = ?2, payload_key = ?3, result_key = ?4 WHERE id = ?1 "
    "AND COALESCE(payload_key, ?3) = ?3 AND COALESCE(result_key, ?4) = ?4"};
#undef CLOISTER_INSTANCE_COLUMNS
#undef CLOISTER_INSTANCE_FILTER

constexpr int kEvidenceColumns = 8;

model::InstanceState read_state(Rows& rows) {
  return read_name(
      rows, +[](std::string_view text) { return model::instance_state_from(text); });
}

ByteArray<32> read_key(Rows& rows) { return rows.take_null() ? ByteArray<32>{} : rows.array<32>(); }

model::Instance read_instance(Rows& rows) {
  model::Instance instance;
  instance.id = rows.id<InstanceId>();
  instance.version = rows.id<VersionId>();
  instance.validator = rows.id<ValidatorId>();
  instance.state = read_state(rows);
  instance.created = rows.time();
  instance.failure = rows.optional_text();
  instance.payload_key = read_key(rows);
  instance.result_key = read_key(rows);
  return instance;
}

model::Instance read_whole(Rows& rows) {
  auto instance = read_instance(rows);
  if (!rows.take_null()) {
    instance.evidence = evidence::read_shown(rows);
    return instance;
  }
  for (int column = 1; column < kEvidenceColumns; ++column) {
    if (!rows.take_null()) rows.fail("NULL expected");
  }
  return instance;
}

Result<void> must_live(model::InstanceState state) {
  const bool over = state == model::InstanceState::lost || state == model::InstanceState::refused ||
                    state == model::InstanceState::stopped;
  if (over) return Error{Errc::conflict, "the instance is " + std::string{model::to_string(state)} + " for good"};
  return {};
}

}  // namespace

Result<void> add(Transaction& transaction, const model::Instance& instance) {
  CLOISTER_CHECK(transaction.run(kAdd, {instance.id, instance.version, instance.validator,
                                        model::to_string(instance.state), instance.created, instance.failure}));
  return {};
}

Result<model::Instance> get(const Reading& reading, const InstanceId& instance) {
  return read_one(reading, "instance", kGet, {instance}, read_whole);
}

Result<std::vector<Count>> count(const Reading& reading) {
  return read_all(reading, kCount, {}, [](Rows& rows) {
    Count count;
    count.state = read_state(rows);
    count.instances = rows.uint();
    return count;
  });
}

Result<std::vector<model::Instance>> list(const Reading& reading, const Filter& filter) {
  std::optional<std::string_view> state;
  if (filter.state) state = model::to_string(*filter.state);
  const std::initializer_list<Param> params = {filter.version,   filter.validator, state,
                                               filter.live_only, filter.after,     filter.limit};
  if (filter.with_evidence) return read_all(reading, kListWhole, params, read_whole);
  return read_all(reading, kList, params, read_instance);
}

Result<void> set_state(Transaction& transaction, const InstanceId& instance, model::InstanceState state,
                       const std::optional<std::string>& failure) {
  CLOISTER_TRY(current, read_one(transaction, "instance", kState, {instance}, read_state));
  if (current != state) CLOISTER_CHECK(must_live(current));
  return need_change(transaction.run(kSetState, {instance, model::to_string(state), failure}), "instance");
}

Result<void> verified(Transaction& transaction, const InstanceId& instance, const SessionId& session,
                      const crypto::X25519Public& payload_key, const crypto::Ed25519Public& result_key) {
  CLOISTER_TRY(state, read_one(transaction, "instance", kState, {instance}, read_state));
  CLOISTER_CHECK(must_live(state));
  CLOISTER_TRY(changed, transaction.run(kVerified, {instance, session, payload_key, result_key}));
  if (changed == 0) return Error{Errc::conflict, "the instance is known by other keys"};
  return {};
}

}  // namespace instances

}  // namespace cloister::storage
