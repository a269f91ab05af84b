#include "cloister/model/fleet.hpp"

#include <array>

#include "json_util.hpp"

namespace cloister::model {
namespace {

using codec::json::Fields;
using codec::json::Object;
using codec::json::Value;

constexpr std::array<std::string_view, 5> kValidatorStates = {"enrolled", "connected", "verified", "draining", "lost"};
constexpr std::array<std::string_view, 6> kInstanceStates = {"starting", "attesting", "ready",
                                                             "lost",     "refused",   "stopped"};

}  // namespace

std::string_view to_string(ValidatorState state) noexcept { return kValidatorStates[static_cast<std::size_t>(state)]; }

std::optional<ValidatorState> validator_state_from(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kValidatorStates.size(); ++i) {
    if (kValidatorStates[i] == text) return static_cast<ValidatorState>(i);
  }
  return std::nullopt;
}

std::string_view to_string(InstanceState state) noexcept { return kInstanceStates[static_cast<std::size_t>(state)]; }

std::optional<InstanceState> instance_state_from(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kInstanceStates.size(); ++i) {
    if (kInstanceStates[i] == text) return static_cast<InstanceState>(i);
  }
  return std::nullopt;
}

Value to_json(const Validator& validator) {
  Object out{{"id", validator.id.str()},
             {"hotkey", codec::to_hex(validator.hotkey)},
             {"state", to_string(validator.state)},
             {"capacity", validator.capacity},
             {"enrolled", to_rfc3339(validator.enrolled)}};
  if (validator.verified) out.emplace_back("verified", to_rfc3339(*validator.verified));
  return out;
}

Result<Validator> parse_validator(const Value& value) {
  Fields fields{value, "validator"};
  Validator validator;
  validator.id = detail::id<ValidatorId>(fields, "id");
  validator.hotkey = fields.hex_array<32>("hotkey");
  validator.state = detail::enumerator(fields, "state", validator_state_from);
  validator.capacity = static_cast<std::uint32_t>(fields.integer("capacity", 0, 1024));
  validator.enrolled = detail::time(fields, "enrolled");
  validator.verified = detail::optional_time(fields, "verified");
  CLOISTER_CHECK(fields.finish());
  return validator;
}

Value to_json(const InstanceEvidence& evidence) {
  return Object{{"evidence", codec::to_base64(evidence.evidence)},
                {"event_log", codec::to_base64(evidence.event_log)},
                {"configuration", codec::to_base64(evidence.configuration)},
                {"preimage", codec::to_base64(evidence.preimage)},
                {"collateral", codec::to_base64(evidence.collateral)},
                {"session", evidence.session.str()},
                {"appraised", to_rfc3339(evidence.appraised)},
                {"expires", to_rfc3339(evidence.expires)}};
}

Result<InstanceEvidence> parse_instance_evidence(const Value& value) {
  Fields fields{value, "instance evidence"};
  InstanceEvidence evidence;
  evidence.evidence = fields.base64("evidence");
  evidence.event_log = fields.base64("event_log");
  evidence.configuration = fields.base64("configuration");
  evidence.preimage = fields.base64("preimage");
  evidence.collateral = fields.base64("collateral");
  evidence.session = detail::id<SessionId>(fields, "session");
  evidence.appraised = detail::time(fields, "appraised");
  evidence.expires = detail::time(fields, "expires");
  CLOISTER_CHECK(fields.finish());
  return evidence;
}

Value to_json(const Instance& instance, bool with_evidence) {
  Object out{{"id", instance.id.str()},
             {"version", instance.version.str()},
             {"validator", instance.validator.str()},
             {"state", to_string(instance.state)},
             {"created", to_rfc3339(instance.created)},
             {"payload_key", codec::to_hex(instance.payload_key)},
             {"result_key", codec::to_hex(instance.result_key)}};
  if (instance.failure) out.emplace_back("failure", *instance.failure);
  if (with_evidence && instance.evidence) out.emplace_back("evidence", to_json(*instance.evidence));
  return out;
}

Result<Instance> parse_instance(const Value& value) {
  Fields fields{value, "instance"};
  Instance instance;
  instance.id = detail::id<InstanceId>(fields, "id");
  instance.version = detail::id<VersionId>(fields, "version");
  instance.validator = detail::id<ValidatorId>(fields, "validator");
  instance.state = detail::enumerator(fields, "state", instance_state_from);
  instance.created = detail::time(fields, "created");
  instance.payload_key = fields.hex_array<32>("payload_key");
  instance.result_key = fields.hex_array<32>("result_key");
  instance.failure = fields.optional_string("failure");
  const auto* evidence = fields.optional_object("evidence");
  CLOISTER_CHECK(fields.finish());
  if (evidence != nullptr) {
    CLOISTER_TRY(parsed, parse_instance_evidence(*evidence));
    instance.evidence = std::move(parsed);
  }
  return instance;
}

}  // namespace cloister::model
