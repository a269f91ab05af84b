#include "cloister/lab_workload/workload.hpp"

#include <cmath>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/lab_workload/payload.hpp"

/// The norm of a vector, and a commitment to it: SHA-256 of the text that Python's json.dumps makes of the list of
/// floats.
namespace cloister::lab_workload::inference {
namespace {

namespace json = codec::json;
constexpr std::size_t kMaxLength = 4096;

Error bad() { return Error{Errc::invalid_argument, "vector must be a list of numbers"}; }

Result<Output> run(const json::Value& payload, Enclave&) {
  CLOISTER_CHECK(known_members(payload, {"vector"}));
  const json::Value none{json::Array{}};
  const auto* member = payload.find("vector");
  const auto* vector = (member == nullptr ? none : *member).as_array();
  if (vector == nullptr) return bad();
  if (vector->size() > kMaxLength) return Error{Errc::invalid_argument, "vector must have at most 4096 numbers"};
  double squares = 0;
  std::string text = "[";
  for (const auto& entry : *vector) {
    const auto number = entry.as_double();
    if (!number) return bad();
    squares += *number * *number;
    if (text.size() > 1) text += ", ";
    text += python_float(*number);
  }
  text += ']';
  const auto norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return Error{Errc::invalid_argument, "vector must have a norm that a double can hold"};
  return Output{json::Object{{"norm", norm}, {"commitment", codec::to_hex(crypto::sha256(as_bytes(text)))}},
                {{"norm", norm}}};
}

}  // namespace

Workload workload();
Workload workload() {
  return {.name = "inference",
          .summary = "The norm of a vector, and a commitment to it",
          .payload_schema = R"json({"type": "object", "additionalProperties": false, "properties": {
            "vector": {"type": "array", "items": {"type": "number"}, "maxItems": 4096, "default": []}}})json",
          .run = run};
}

}  // namespace cloister::lab_workload::inference
