#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister::model {

enum class ValidatorState { enrolled, connected, verified, draining, lost };
[[nodiscard]] std::string_view to_string(ValidatorState state) noexcept;
[[nodiscard]] std::optional<ValidatorState> validator_state_from(std::string_view text) noexcept;

/// A host that runs CVMs, known by its hotkey.
struct Validator {
  ValidatorId id;
  ByteArray<32> hotkey{};  // Ed25519
  ValidatorState state = ValidatorState::enrolled;
  std::uint32_t capacity = 0;  // instances at the same time, as its host offers
  UnixTime enrolled{};
  std::optional<UnixTime> verified;  // when a TD on its host last attested
};
[[nodiscard]] codec::json::Value to_json(const Validator& validator);
[[nodiscard]] Result<Validator> parse_validator(const codec::json::Value& value);

enum class InstanceState { starting, attesting, ready, lost, refused, stopped };
[[nodiscard]] std::string_view to_string(InstanceState state) noexcept;
[[nodiscard]] std::optional<InstanceState> instance_state_from(std::string_view text) noexcept;

/// What an instance showed when it was verified, as it stood, so that anyone can verify it again.
struct InstanceEvidence {
  Bytes evidence;       // the quote
  Bytes event_log;
  Bytes configuration;
  Bytes preimage;       // of report_data
  Bytes collateral;     // QuoteCollateral JSON text that was used
  SessionId session;
  UnixTime appraised{};
  UnixTime expires{};
};
[[nodiscard]] codec::json::Value to_json(const InstanceEvidence& evidence);
[[nodiscard]] Result<InstanceEvidence> parse_instance_evidence(const codec::json::Value& value);

/// One CVM that runs one version.
struct Instance {
  InstanceId id;
  VersionId version;
  ValidatorId validator;
  InstanceState state = InstanceState::starting;
  UnixTime created{};
  std::optional<std::string> failure;        // a code and why, where it is refused or lost
  std::optional<InstanceEvidence> evidence;  // once verified
  ByteArray<32> payload_key{};               // X25519; zero until verified
  ByteArray<32> result_key{};                // Ed25519; zero until verified
};
/// With the evidence only when `with_evidence`.
[[nodiscard]] codec::json::Value to_json(const Instance& instance, bool with_evidence);
[[nodiscard]] Result<Instance> parse_instance(const codec::json::Value& value);

}  // namespace cloister::model
