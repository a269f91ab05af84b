#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "chain.hpp"
#include "cloister/attestation/outcome.hpp"

/// What verifiers of all kinds share: filling in a report, and turning it into an outcome.
namespace cloister::attestation {

/// The check of this id, which the report has (asserted).
[[nodiscard]] Check& check_of(Report& report, CheckId id);

/// The parts one after the other, in a string that is allocated once.
[[nodiscard]] std::string joined(std::initializer_list<std::string_view> parts);

/// A report in the making: each check is recorded once, in any order.
class Recorder {
 public:
  /// Every check `skipped`.
  Recorder(std::span<const CheckId> checks, Claims claims);

  void pass(CheckId id, std::string detail);
  void record(CheckId id, const Result<void>& result, std::string detail = {});
  void skip(CheckId id, std::string why);
  /// The window of validity is at most this.
  void narrow(UnixTime from, UnixTime until);
  void narrow(const Chain& chain);
  [[nodiscard]] Report& report() noexcept { return report_; }
  [[nodiscard]] Report take() &&;

 private:
  Report report_;
};

/// The one maker of `AuthenticEvidence`.
struct Conclusion {
  /// Evidence exactly when no check failed.
  [[nodiscard]] static Outcome of(Report report);
};

}  // namespace cloister::attestation
