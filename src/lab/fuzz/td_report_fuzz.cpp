#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cloister/crypto/hash.hpp"
#include "cloister/lab/tdx.hpp"

/// Nothing that came from outside carries this machine's MAC; and a MAC alone does not make a report: what the quoting
/// enclave accepts is a TDX report whose parts are those that were hashed.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  static const lab::tdx::ReportKey key{crypto::Secret<32>{ByteArray<32>{1}}};
  const ByteView input{data, size};
  CLOISTER_ASSERT(!key.verify(input).ok());
  if (size != evidence::kTdReportSize) return 0;
  auto sealed = to_array<evidence::kTdReportSize>(input);
  key.seal(sealed);
  if (!key.verify(sealed).ok()) return 0;
  const auto report = evidence::parse_td_report(sealed);
  CLOISTER_ASSERT(report.ok());
  CLOISTER_ASSERT(report->mac.tee_info_hash == crypto::sha384(evidence::encode_td_info(report->info)));
  CLOISTER_ASSERT(report->mac.tee_tcb_info_hash == crypto::sha384(evidence::encode_tee_tcb_info(report->tcb)));
  return 0;
}
