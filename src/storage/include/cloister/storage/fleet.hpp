#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/storage/database.hpp"

/// Validators, by hotkey.
namespace cloister::storage::validators {

/// `conflict` when the id or the hotkey is enrolled.
[[nodiscard]] Result<void> enrol(Transaction& transaction, const model::Validator& validator);
/// `not_found`.
[[nodiscard]] Result<model::Validator> get(const Reading& reading, const ValidatorId& validator);
/// `not_found`.
[[nodiscard]] Result<model::Validator> by_hotkey(const Reading& reading, const crypto::Ed25519Public& hotkey);
/// By id.
[[nodiscard]] Result<std::vector<model::Validator>> list(const Reading& reading);
/// `not_found`.
[[nodiscard]] Result<void> set_state(Transaction& transaction, const ValidatorId& validator,
                                     model::ValidatorState state);
/// `not_found`.
[[nodiscard]] Result<void> set_capacity(Transaction& transaction, const ValidatorId& validator, std::uint32_t capacity);
/// A TD on its host attested in this session, whose evidence is stored (evidence.hpp). `not_found`.
[[nodiscard]] Result<void> verified(Transaction& transaction, const ValidatorId& validator, const SessionId& session,
                                    UnixTime at);
/// The session of its newest evidence; nothing before it attested. `not_found`.
[[nodiscard]] Result<std::optional<SessionId>> session(const Reading& reading, const ValidatorId& validator);

}  // namespace cloister::storage::validators

/// Instances: CVMs that run one version each.
namespace cloister::storage::instances {

/// A new one, without evidence or keys. `conflict` when the id is taken, or version or validator do not exist.
[[nodiscard]] Result<void> add(Transaction& transaction, const model::Instance& instance);
/// With its newest evidence. `not_found`.
[[nodiscard]] Result<model::Instance> get(const Reading& reading, const InstanceId& instance);

struct Filter {
  std::optional<VersionId> version = std::nullopt;
  std::optional<ValidatorId> validator = std::nullopt;
  std::optional<model::InstanceState> state = std::nullopt;
  bool live_only = false;      // starting, attesting or ready
  bool with_evidence = false;  // the evidence's bytes are large: only where asked for
  std::optional<InstanceId> after = std::nullopt;     // those alone that are younger than this one
  std::optional<std::uint32_t> limit = std::nullopt;  // at most so many
};
struct Count {
  model::InstanceState state = model::InstanceState::starting;
  std::uint64_t instances = 0;
};
/// How many there are in each state that any is in.
[[nodiscard]] Result<std::vector<Count>> count(const Reading& reading);
/// Oldest first.
[[nodiscard]] Result<std::vector<model::Instance>> list(const Reading& reading, const Filter& filter);
/// The failure is a code and why, for states lost and refused. `not_found`; `conflict` out of lost, refused or
/// stopped into anything else.
[[nodiscard]] Result<void> set_state(Transaction& transaction, const InstanceId& instance, model::InstanceState state,
                                     const std::optional<std::string>& failure = std::nullopt);
/// It attested in this session, whose evidence is stored (evidence.hpp), and bound these keys. The first time they
/// become its keys; later other keys are refused: `conflict`, also for keys that another instance has, and for an
/// instance that has ended.
[[nodiscard]] Result<void> verified(Transaction& transaction, const InstanceId& instance, const SessionId& session,
                                    const crypto::X25519Public& payload_key, const crypto::Ed25519Public& result_key);

}  // namespace cloister::storage::instances
