#include "cloister/evidence/sgx_report.hpp"

#include "fields.hpp"

namespace cloister::evidence {
namespace {

template <class Io, class Report>
void layout(Io& io, Report& r) {
  io(r.cpu_svn);
  io(r.misc_select);
  io(r.reserved1);
  io(r.isv_ext_prod_id);
  io(r.attributes);
  io(r.mr_enclave);
  io(r.reserved2);
  io(r.mr_signer);
  io(r.reserved3);
  io(r.config_id);
  io(r.isv_prod_id);
  io(r.isv_svn);
  io(r.config_svn);
  io(r.reserved4);
  io(r.isv_family_id);
  io(r.report_data);
}

std::uint64_t number_at(const ByteArray<16>& bytes, std::size_t offset) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = (value << 8) | bytes[offset + i];
  return value;
}

}  // namespace

std::uint64_t SgxReport::flags() const noexcept { return number_at(attributes, 0); }
std::uint64_t SgxReport::xfrm() const noexcept { return number_at(attributes, 8); }

Result<SgxReport> parse_sgx_report(ByteView bytes) {
  if (bytes.size() != kSgxReportSize) {
    return Error{Errc::evidence_malformed,
                 "SGX report: " + std::to_string(kSgxReportSize) + " bytes expected, got " + std::to_string(bytes.size())};
  }
  SgxReport report;
  FieldReader in{bytes};
  layout(in, report);
  CLOISTER_ASSERT(in.at_end());
  return report;
}

ByteArray<kSgxReportSize> encode_sgx_report(const SgxReport& report) {
  FieldWriter out;
  layout(out, report);
  return to_array<kSgxReportSize>(std::move(out).take());
}

}  // namespace cloister::evidence
