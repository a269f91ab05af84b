#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/attestation/outcome.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/token/ear.hpp"

/// EAR tokens in the profile of Confidential Containers' Trustee, which guests get for their evidence, and give for
/// resources.
namespace cloister::token {

inline constexpr std::string_view kTrusteeProfile = "tag:github.com,2024:confidential-containers/Trustee";
/// A boolean of ours at the top of a token: `sample` evidence is in it, which proves nothing. `cloister.lab` is true then too.
inline constexpr std::string_view kSampleClaim = "cloister.sample";
/// An object of ours in a submodule: by the name of each further policy what that says of the same evidence:
/// {"status": …, "trustworthiness-vector": {…}, "policy": SHA-256 of its text, hex}. A policy that failed is contraindicated
/// and has "error", a code, so that neither a demand nor an exclusion lets anything through that it did not see.
inline constexpr std::string_view kPoliciesClaim = "cloister.policies";

/// Of ours at the top of a token: which session it came of, by the SHA-256 of its id, hex.
inline constexpr std::string_view kSessionClaim = "cloister.session";

/// What the guest said, that its evidence is bound to.
struct GuestData {
  std::string nonce;
  codec::json::Value tee_pubkey;
  std::string additional_evidence;
  codec::json::Value init_data{};         // as the evidence has it; null for none
  codec::json::Value init_data_claims{};  // an object, checked against it
  std::string session = {};               // `kSessionClaim`; empty for none
};

/// One attester of a token: the TEE, or a device of it.
class Attester {
 public:
  /// Evidence that was authentic and bound, with what a Rego policy said of it, be it good or bad: the token's status says
  /// which. `policy_evaluation_failed` and the like when the policy said nothing. A TCB that no policy may accept is
  /// contraindicated, whatever the policy said.
  [[nodiscard]] static Result<Attester> of(const attestation::BoundEvidence& evidence, const appraisal::Appraisal& appraisal);
  /// `sample` evidence, or that of a `sampledevice`: `claims` are {tee: {…}, "report_data": …}. The token is tainted.
  [[nodiscard]] static Result<Attester> of_sample(const codec::json::Value& claims, const appraisal::Appraisal& appraisal);

  /// What a further policy says of it, under its name; `policy` is SHA-256 of its text. Its extensions are not taken.
  void judged(std::string_view name, const Digest32& policy, const appraisal::Appraisal& appraisal);

  [[nodiscard]] Tier status() const noexcept { return status_; }
  /// As kPoliciesClaim has it.
  [[nodiscard]] const codec::json::Value& further() const noexcept { return further_; }
  [[nodiscard]] bool lab() const noexcept { return lab_; }
  [[nodiscard]] bool sample() const noexcept { return sample_; }

 private:
  friend Result<std::string> issue_trustee(const Attester&, std::span<const Attester>, const GuestData&, const Issuer&, std::string_view,
                                           const TokenTerms&);
  Attester() = default;
  [[nodiscard]] static Result<Attester> from(const codec::json::Value& claims, const appraisal::Appraisal& appraisal);
  Tier status_ = Tier::none;
  codec::json::Value vector_;
  codec::json::Value extensions_;  // of the policy: {name: value}
  codec::json::Value evidence_;    // annotated
  codec::json::Value further_{codec::json::Object{}};
  std::optional<UnixTime> until_;  // the end of the collateral
  bool lab_ = false;
  bool sample_ = false;
};

/// A signed token, ES256, of `id` ("jti"). Submodules are "cpu0" and, of devices, "gpu0" and so on; the data of the guest are
/// `runtime_data_claims` of "cpu0". There is no `nbf`, since guests compare it with clocks that nobody set.
[[nodiscard]] Result<std::string> issue_trustee(const Attester& cpu, std::span<const Attester> devices, const GuestData& guest,
                                                const Issuer& issuer, std::string_view id, const TokenTerms& terms);

/// The key that a token of this profile was issued for: `tee-pubkey` of "cpu0"; nothing when there is none.
[[nodiscard]] const codec::json::Value* tee_pubkey_of(const codec::json::Value& claims) noexcept;

}  // namespace cloister::token
