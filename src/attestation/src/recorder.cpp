#include "recorder.hpp"

#include <algorithm>

namespace cloister::attestation {

Check& check_of(Report& report, CheckId id) {
  const auto found = std::ranges::find(report.checks, id, &Check::id);
  CLOISTER_ASSERT(found != report.checks.end());
  return *found;
}

std::string joined(std::initializer_list<std::string_view> parts) {
  std::size_t size = 0;
  for (const auto part : parts) size += part.size();
  std::string out;
  out.reserve(size);
  for (const auto part : parts) out += part;
  return out;
}

Recorder::Recorder(std::span<const CheckId> checks, Claims claims)
    : report_{.checks = {}, .claims = UnverifiedClaims{std::move(claims)}, .tcb = std::nullopt, .collateral = std::nullopt} {
  report_.checks.reserve(checks.size());
  for (const auto id : checks) report_.checks.push_back({id, CheckResult::skipped, std::nullopt, {}});
}

void Recorder::pass(CheckId id, std::string detail) {
  auto& check = check_of(report_, id);
  check.result = CheckResult::pass;
  check.detail = std::move(detail);
}

void Recorder::record(CheckId id, const Result<void>& result, std::string detail) {
  if (result) return pass(id, std::move(detail));
  auto& check = check_of(report_, id);
  check.result = CheckResult::fail;
  check.code = result.error().code();
  check.detail = result.error().detail();
}

void Recorder::skip(CheckId id, std::string why) { check_of(report_, id).detail = std::move(why); }

void Recorder::narrow(UnixTime from, UnixTime until) {
  auto& window = report_.collateral;
  if (!window) window = CollateralWindow{from, until};
  window->issued = std::max(window->issued, from);
  window->expires = std::min(window->expires, until);
}

void Recorder::narrow(const Chain& chain) {
  for (const auto& certificate : chain.certificates) narrow(certificate->not_before, certificate->not_after);
}

Report Recorder::take() && { return std::move(report_); }

Outcome Conclusion::of(Report report) {
  Outcome outcome{std::move(report), std::nullopt};
  if (outcome.report.authentic()) outcome.evidence = AuthenticEvidence{outcome.report};
  return outcome;
}

}  // namespace cloister::attestation
