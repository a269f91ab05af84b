#include <array>
#include <cstdlib>

#include "cloister/rego/policy.hpp"

/// A policy, a zero byte, its input as JSON. Whatever is plain ends, and gives one answer twice, or a refusal. What is not
/// plain may not end: processes evaluate it (docs/adr/0110-policies-in-processes.md).
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  using namespace cloister::rego;
  const auto all = as_text({data, size});
  const auto split = all.find('\0');
  const std::array modules{Module{"fuzz.rego", std::string{all.substr(0, split)}}};
  const std::array entrypoints{std::string{"data.policy.allow"}};
  const Limits limits{.policy_bytes = 4096, .input_bytes = 4096, .result_bytes = 65536, .time = std::chrono::milliseconds{20}};
  const auto policy = CompiledPolicy::compile(modules, entrypoints, limits);
  if (!policy || !(*policy)->is_plain()) return 0;
  Given given;
  if (split != std::string_view::npos) {
    if (auto input = codec::json::parse(all.substr(split + 1), {.bytes = 4096, .depth = 32, .values = 1000})) given.input = *input;
  }
  const auto once = (*policy)->evaluate(given);
  const auto explained = (*policy)->evaluate(given, Explain::yes);
  if (once && explained && once->results != explained->results) std::abort();
  return 0;
}
