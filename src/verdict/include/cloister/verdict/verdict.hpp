#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/attestation/verify.hpp"
#include "cloister/attestation/verify_snp.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/detect.hpp"
#include "cloister/policy/policy.hpp"

/// What is said of evidence that somebody gives to be judged: by `cloister verify` and by the API.
namespace cloister::verdict {

/// What the evidence is judged by.
struct Terms {
  attestation::TrustAnchors anchors;
  UnixTime at;
  std::optional<Digest64> report_data;
  policy::Policy policy;
  std::optional<Bytes> event_log{};  // as `evidence::parse_event_log` takes it, in place of the one that the evidence brings
  std::optional<appraisal::Policy> rego = {};  // instead of `policy`, when given
  codec::json::Value reference_values = {};    // of the Rego policy: an object, or null for none
  /// Further input of the Rego policy, asked for once the evidence is known to be authentic and bound: an object, or null
  /// for none. An error is why the evidence is not accepted.
  std::function<Result<codec::json::Value>(const attestation::Claims&)> more = {};
  rego::Explain explain = rego::Explain::yes;  // of the Rego policy: for people
  attestation::VerificationCache* cache = nullptr;  // of whoever judges often; changes no verdict
};

/// What came out, as far as it came.
struct Verdict {
  std::optional<evidence::EvidenceKind> kind;
  std::string format;  // "quote-v4", "snp-report-v3"; empty until the evidence was parsed
  std::optional<attestation::Report> report;
  std::optional<Result<codec::json::Value>> event_log;  // the claims of the log beside it; absent without one
  /// Only of authentic evidence whose event log, if any, is its own; that of the Rego policy where one was given.
  std::optional<policy::Decision> decision;
  std::optional<appraisal::Appraisal> appraisal;  // of a Rego policy,
  codec::json::Value more;                        // its further input,
  std::chrono::nanoseconds appraising{};          // and how long it took
  std::optional<Error> error;                // why it is not accepted
  std::optional<policy::Appraised> appraised;  // of accepted evidence, where report data was expected
  /// Of evidence that a Rego policy appraised, whatever it said, where report data was expected.
  std::optional<attestation::BoundEvidence> bound;

  [[nodiscard]] bool authentic() const { return report && report->authentic(); }
  [[nodiscard]] bool accepted() const { return decision && decision->accepted; }
};

/// Documents that a source may keep for the next quote; immutable.
using DocumentsPtr = std::shared_ptr<const evidence::CollateralDocuments>;
[[nodiscard]] Result<DocumentsPtr> shared(Result<evidence::CollateralDocuments> documents);

/// Documents of the collateral that was asked for last, which are not parsed again for the next quote. Thread-safe.
class RecentDocuments {
 public:
  /// `collateral_malformed` and the like; nothing is kept then.
  [[nodiscard]] Result<DocumentsPtr> of(evidence::QuoteCollateral collateral);

 private:
  static constexpr std::size_t kMost = 4;
  std::mutex mutex_;  // guards the one below
  std::vector<std::pair<evidence::QuoteCollateral, DocumentsPtr>> recent_;  // oldest first
};

/// Where the judge gets what evidence needs beside it, one function a kind; one that is not set has nothing.
using FindCollateral = std::function<Result<DocumentsPtr>(const evidence::Quote&)>;
/// Beside the certificates that came with the report itself, which are shown to it; may be empty.
using FindEndorsements =
    std::function<Result<evidence::SnpEndorsements>(const evidence::SnpReport&, const evidence::SnpEndorsements& brought)>;
struct Sources {
  FindCollateral collateral;
  FindEndorsements endorsements;
  /// They fetch: evidence that is refused without them makes them do nothing. Its report then says less than all.
  bool remote = false;
};

/// Judges evidence in any form that `evidence::detect` takes; `tee` is "sgx", "tdx" or "snp" where that is expected, else
/// empty. Only an `io_error` of a source is an error here; everything else that is wrong is in the verdict.
[[nodiscard]] Result<Verdict> judge(ByteView evidence, std::string_view tee, const Terms& terms,
                                    const Sources& sources);

/// What report data a nonce stands for: its bytes (at most 64), then zeros. `invalid_argument`.
[[nodiscard]] Result<Digest64> report_data_of_nonce(ByteView nonce);

/// "sgx", "tdx", "snp" or "unknown".
[[nodiscard]] std::string_view tee_name(const Verdict& verdict) noexcept;

/// One check and its result: those of the report, or the step before it that failed, and then the policy.
struct Line {
  std::string_view id;
  attestation::CheckResult result;
  std::string detail;
};
[[nodiscard]] std::vector<Line> lines_of(const Verdict& verdict);

/// What evidence that could be read says of itself, and its event log, where that is its own; else an empty object.
[[nodiscard]] codec::json::Value claims_of(const Verdict& verdict);

/// The object that `cloister verify --json` prints.
[[nodiscard]] codec::json::Value to_json(const Verdict& verdict);

}  // namespace cloister::verdict
