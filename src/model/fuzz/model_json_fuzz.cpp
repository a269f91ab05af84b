// JSON of the model from outside: what a parser takes, it writes so that it reads the same again.
#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/model/derived_key.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/model/job.hpp"

namespace {

using namespace cloister;
using codec::json::Value;

template <class Parse, class Write>
void round_trip(const Value& value, Parse parse, Write write) {
  const auto first = parse(value);
  if (!first) return;
  const Value written = write(*first);
  const auto second = parse(written);
  CLOISTER_ASSERT(second.ok());
  CLOISTER_ASSERT(write(*second) == written);
}

constexpr auto kWrite = [](const auto& record) { return model::to_json(record); };
constexpr auto kWriteInstance = [](const model::Instance& instance) {
  return model::to_json(instance, instance.evidence.has_value());
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto value = codec::json::parse(as_text(ByteView{data, size}));
  if (!value) return 0;
  round_trip(*value, model::parse_challenge_spec, kWrite);
  round_trip(*value, model::parse_reference_value, kWrite);
  round_trip(*value, model::parse_release_conditions, kWrite);
  round_trip(*value, model::parse_derived_key, kWrite);
  round_trip(*value, model::parse_version, kWrite);
  round_trip(*value, model::parse_validator, kWrite);
  round_trip(*value, model::parse_instance_evidence, kWrite);
  round_trip(*value, model::parse_instance, kWriteInstance);
  round_trip(*value, model::parse_job_request, kWrite);
  round_trip(*value, model::parse_recipient, kWrite);
  round_trip(*value, model::parse_job, kWrite);
  round_trip(*value, model::parse_job_result, kWrite);
  return 0;
}
