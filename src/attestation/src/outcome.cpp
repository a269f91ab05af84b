#include "cloister/attestation/outcome.hpp"

#include "cloister/codec/text.hpp"
#include "recorder.hpp"

namespace cloister::attestation {

void check_report_data(Report& report, const Digest64& expected) {
  const auto& got = report.claims.unverified().report_data();
  auto& check = check_of(report, CheckId::report_data);
  report.bound = got == expected;
  check.result = report.bound ? CheckResult::pass : CheckResult::fail;
  check.code = report.bound ? std::nullopt : std::optional{Errc::report_data_mismatch};
  check.detail = report.bound ? "" : codec::to_hex(expected) + " expected, got " + codec::to_hex(got);
}

Result<BoundEvidence> bind(AuthenticEvidence&& evidence, const Digest64& expected) {
  auto taken = std::move(evidence);
  check_report_data(taken.report_, expected);
  if (auto error = taken.report_.error()) return *error;
  return BoundEvidence{std::move(taken)};
}

}  // namespace cloister::attestation
