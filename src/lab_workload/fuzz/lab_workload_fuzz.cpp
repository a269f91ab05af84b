#include <cstdlib>

#include "../tests/plain_enclave.hpp"

// Any JSON to every workload: a result that can be written, or a refusal of the payload.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace json = cloister::codec::json;
  const auto payload = json::parse(cloister::as_text({data, size}));
  if (!payload) return 0;
  cloister::lab_workload::test::PlainEnclave enclave;
  for (const auto& workload : cloister::lab_workload::built_in_workloads()) {
    const auto output = workload.run(*payload, enclave);
    if (!output && output.error().code() != cloister::Errc::invalid_argument) std::abort();
    if (output && !json::parse(json::write(output->result))) std::abort();
  }
  return 0;
}
