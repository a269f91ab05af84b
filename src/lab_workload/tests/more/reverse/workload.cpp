#include "cloister/lab_workload/workload.hpp"

#include <algorithm>

#include "cloister/lab_workload/payload.hpp"

/// The workload that docs/lab-service.md adds.
namespace cloister::lab_workload::reverse {
namespace {

namespace json = codec::json;

Result<Output> run(const json::Value& payload, Enclave& enclave) {
  CLOISTER_CHECK(known_members(payload, {"numbers"}));
  const auto* member = payload.find("numbers");
  const auto* numbers = member == nullptr ? nullptr : member->as_array();
  if (numbers == nullptr) return Error{Errc::invalid_argument, "numbers must be a list"};
  json::Array reversed = *numbers;
  std::ranges::reverse(reversed);
  CLOISTER_TRY(answer, enclave.ocall("progress", json::Object{{"done", static_cast<std::uint64_t>(reversed.size())}}));
  return Output{json::Object{{"numbers", std::move(reversed)}, {"host", std::move(answer)}}, {}};
}

}  // namespace

Workload workload();
Workload workload() {
  return {.name = "reverse",
          .summary = "A list, backwards",
          .payload_schema =
              R"json({"type": "object", "required": ["numbers"], "properties": {"numbers": {"type": "array"}}})json",
          .run = run};
}

}  // namespace cloister::lab_workload::reverse
