#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/policy/trust_file.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/report_data.hpp"

/// The whole appraisal of one of our TDs, as server, client and receipt all make it: from what the TD submitted to a
/// decision (docs/protocol/jobs.md, "Proving what a TD is").
namespace cloister::policy {

/// As the TD sent it.
struct TdSubmission {
  ByteView evidence;
  ByteView event_log;
  ByteView configuration;
  ByteView preimage;
};

/// A TD whose evidence was accepted, with what it bound. Made by `appraise_td` only.
class AppraisedTd {
 public:
  [[nodiscard]] const Appraised& appraised() const noexcept { return appraised_; }
  [[nodiscard]] const protocol::Preimage& preimage() const noexcept { return preimage_; }
  [[nodiscard]] const protocol::Configuration& configuration() const noexcept { return configuration_; }
  [[nodiscard]] const ReferenceValue& reference() const noexcept { return reference_; }
  /// Until when the collateral behind this holds: no session outlives it.
  [[nodiscard]] UnixTime collateral_expires() const noexcept;

 private:
  friend struct TdAppraiser;
  AppraisedTd(Appraised appraised, protocol::Preimage preimage, protocol::Configuration configuration,
              ReferenceValue reference)
      : appraised_{std::move(appraised)},
        preimage_{std::move(preimage)},
        configuration_{std::move(configuration)},
        reference_{std::move(reference)} {}
  Appraised appraised_;
  protocol::Preimage preimage_;
  protocol::Configuration configuration_;
  ReferenceValue reference_;
};

/// Verifies the evidence at `now`, its binding to the preimage, the event log against RTMR3, the configuration against
/// the log, and the measurements against `references`, one of which must be met (of a validator's TD the image digest
/// is not compared: it has none). `policy.measurements` is not used: the references take its place.
///
/// The first thing that fails is the error: the check's own code for evidence that is not authentic,
/// `report_data_mismatch`, `evidence_unsupported` for a preimage that binds init data (no TD of ours has any),
/// `event_log_mismatch`, `measurement_mismatch` with what was expected and found, or the policy's reason. Whose the
/// nonce, handshake and instance in the preimage are, is the caller's to compare. A cache (which may be null) spares
/// signatures and chains that it knows; it never changes the outcome. Thread-safe.
[[nodiscard]] Result<AppraisedTd> appraise_td(const TdSubmission& submission,
                                              const evidence::CollateralDocuments& collateral,
                                              const attestation::TrustAnchors& anchors, Policy policy,
                                              std::span<const ReferenceValue> references, UnixTime now,
                                              attestation::VerificationCache* cache = nullptr);

/// The same of an instance, for whoever has a trust file and what a server shows: `collateral` is the JSON text that was
/// used, `challenge` and `version` name the reference values. The TD must be an instance, and must have shaken hands
/// with a server key of the file, where it lists any (`binding_mismatch`).
[[nodiscard]] Result<AppraisedTd> appraise_instance(const TdSubmission& submission, ByteView collateral,
                                                    const TrustFile& trust, std::string_view challenge,
                                                    std::string_view version, UnixTime now);

}  // namespace cloister::policy
