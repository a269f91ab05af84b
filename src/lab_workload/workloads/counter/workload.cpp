#include "cloister/lab_workload/workload.hpp"

#include <limits>

#include "cloister/codec/text.hpp"
#include "cloister/lab_workload/payload.hpp"

/// A counter that is raised, and a MAC of what it became. One addition, whatever the number.
namespace cloister::lab_workload::counter {
namespace {

namespace json = codec::json;

std::optional<std::int64_t> integer(const json::Value& payload, std::string_view name, std::int64_t fallback) {
  const auto* value = payload.find(name);
  return value == nullptr ? fallback : value->as_int();
}

Result<Output> run(const json::Value& payload, Enclave& enclave) {
  CLOISTER_CHECK(known_members(payload, {"initial", "increments"}));
  const auto initial = integer(payload, "initial", 0);
  const auto increments = integer(payload, "increments", 1);
  if (!initial || !increments) return Error{Errc::invalid_argument, "initial and increments must be integers"};
  if (*increments < 0) return Error{Errc::invalid_argument, "increments must be non-negative"};
  if (*initial > std::numeric_limits<std::int64_t>::max() - *increments) {
    return Error{Errc::invalid_argument, "initial and increments must have a sum below 2^63"};
  }
  const auto value = *initial + *increments;
  CLOISTER_TRY(mac, enclave.mac("counter", as_bytes(std::to_string(value) + ':' + std::to_string(*increments))));
  return Output{json::Object{{"counter", value}, {"mac", codec::to_hex(mac)}}, {}};
}

}  // namespace

Workload workload();
Workload workload() {
  return {.name = "counter",
          .summary = "Raises a counter; the MAC is under a key of the enclave",
          .payload_schema = R"json({"type": "object", "additionalProperties": false, "properties": {
            "initial": {"type": "integer", "default": 0}, "increments": {"type": "integer", "minimum": 0, "default": 1}}})json",
          .run = run};
}

}  // namespace cloister::lab_workload::counter
