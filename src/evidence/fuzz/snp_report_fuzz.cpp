// What parses, encodes back to its bytes.
#include "check.hpp"
#include "cloister/evidence/snp/report.hpp"

using namespace cloister;
using namespace cloister::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input{data, size};
  const auto report = parse_snp_report(input);
  if (!report) return 0;
  const auto body = encode_snp_body(report->body());
  require(body.ok() && same_bytes(*body, report->signed_bytes()));
  require(same_bytes(encode_snp_report(*body, report->signature()), input));
  if (const auto product = report->product()) {
    const auto tcb = snp_tcb(report->body().reported_tcb, *product);
    require(snp_tcb(encode_snp_tcb(tcb, *product), *product) == tcb);
  }
  return 0;
}
