#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/appraisal/tier.hpp"
#include "cloister/attestation/verify.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/rego/policy.hpp"

/// Appraisal of evidence by a Rego policy in Trustee's form (the EAR policies of its attestation service).
namespace cloister::appraisal {

struct TrustClaim {
  std::string name;  // one of AR4SI's eight, e.g. "hardware"
  std::int8_t value = 0;
  /// The definition that gave it: of the rule of the claim's name ('-' written '_'), else of `trust_claims`.
  std::optional<rego::Rule> rule;
};

/// "hardware is 97 (contraindicated), by the default of hardware at policy.rego:12"
[[nodiscard]] std::string describe(const TrustClaim& claim);

struct Reason {
  Errc code;
  std::string detail;
};

/// How a policy is asked.
struct How {
  rego::Explain explain = rego::Explain::yes;       // whether claims name their rules, which costs more than the decision
  std::optional<std::chrono::microseconds> time{};  // less than a policy has, where several share it
};

/// What a policy says of evidence.
struct Appraisal {
  bool accepted = false;        // affirming, and nothing forbids it
  Tier status = Tier::none;     // the worst tier of the claims
  std::vector<TrustClaim> claims;
  codec::json::Value extensions;  // data.policy.extensions, or null
  std::vector<Reason> reasons;    // empty exactly when accepted
  std::vector<rego::Condition> unmet;  // where an explanation was asked for: what kept rules from holding
  Digest32 policy_digest{};
};

/// A compiled policy; immutable, for any number of threads; cheap to copy.
class Policy {
 public:
  /// `policy_invalid` with the position. `name` is for messages.
  [[nodiscard]] static Result<Policy> compile(std::string name, std::string text);
  /// policies/default.rego.
  [[nodiscard]] static Policy builtin();
  [[nodiscard]] const Digest32& digest() const noexcept { return digest_; }
  [[nodiscard]] const std::string& text() const noexcept { return *text_; }

 private:
  friend Appraisal decide(const Policy&, const attestation::AuthenticEvidence&, const codec::json::Value&,
                          const codec::json::Value&, const How&);
  friend Appraisal decide_sample(const Policy&, const codec::json::Value&, const codec::json::Value&, const How&);
  Policy(std::shared_ptr<const rego::CompiledPolicy> compiled, std::string text, const Digest32& digest)
      : compiled_{std::move(compiled)}, text_{std::make_shared<const std::string>(std::move(text))}, digest_{digest} {}
  std::shared_ptr<const rego::CompiledPolicy> compiled_;
  std::shared_ptr<const std::string> text_;
  Digest32 digest_;
};

/// The policy's input: {"tdx": {...}, "report_data": hex}, or "sgx" or "snp", under Trustee's names (docs/policies.md).
[[nodiscard]] codec::json::Value claims_of(const attestation::AuthenticEvidence& evidence);

/// The decision alone, also of evidence that nobody asked to be bound. `reference_values` is an object, or null for none.
/// A policy that fails, gives no `trust_claims`, or claims that AR4SI does not have, accepts nothing; neither can any
/// policy accept a TCB that is Revoked or NotSupported. `more`: an object of further members of the input that the caller
/// vouches for, or null.
[[nodiscard]] Appraisal decide(const Policy& policy, const attestation::AuthenticEvidence& evidence,
                               const codec::json::Value& reference_values, const codec::json::Value& more = {},
                               const How& how = {});

/// What a policy says of claims that nothing vouches for: the sample evidence of Confidential Containers, and dry runs, both
/// for trying things out. Never for anything else.
[[nodiscard]] Appraisal decide_sample(const Policy& policy, const codec::json::Value& claims,
                                      const codec::json::Value& reference_values, const How& how = {});

/// Evidence that was authentic, bound and affirmed. Made by `appraise` only.
class Affirmed {
 public:
  [[nodiscard]] const attestation::BoundEvidence& evidence() const noexcept { return evidence_; }
  [[nodiscard]] const Appraisal& appraisal() const noexcept { return appraisal_; }

 private:
  friend std::pair<Appraisal, std::optional<Affirmed>> appraise(const Policy&, attestation::BoundEvidence,
                                                                 const codec::json::Value&);
  Affirmed(attestation::BoundEvidence evidence, Appraisal appraisal)
      : evidence_{std::move(evidence)}, appraisal_{std::move(appraisal)} {}
  attestation::BoundEvidence evidence_;
  Appraisal appraisal_;
};

/// As `decide`; `Affirmed` exactly when accepted.
[[nodiscard]] std::pair<Appraisal, std::optional<Affirmed>> appraise(const Policy& policy,
                                                                     attestation::BoundEvidence evidence,
                                                                     const codec::json::Value& reference_values);

}  // namespace cloister::appraisal
