#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/guest.hpp"
#include "cloister/kbs/rule_book.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/kbs/vault.hpp"
#include "cloister/rcar/resource.hpp"

namespace cloister::kbs {

/// What administrators ask of policies: which of them would decide, what it would say, and why. Also of a policy that nobody
/// set, under the bounds of those that hold. It changes nothing, releases nothing, and is not in the audit log. Thread-safe.
class Advisor {
 public:
  Advisor(const Services& services, const RuleBook& rules, const GuestTokens& tokens, const Vault& vault)
      : services_{services}, rules_{rules}, tokens_{tokens}, vault_{vault} {}

  struct Evidence {
    std::string text;  // as `cloister verify` takes it, or as a guest sends it
    std::string tee;   // "sgx", "snp" or "tdx"
  };
  /// What a policy is asked about: one of these, `invalid_argument` otherwise.
  struct About {
    std::optional<codec::json::Value> claims;  // its input, an object, which nobody vouches for
    std::optional<std::string> token;          // of a guest; also one that is not taken any more
    std::optional<Evidence> evidence;          // of attestation policies alone
  };

  struct ResourceAdvice {
    bool allowed = false;
    PolicyRef policy;
    std::string scope;
    std::optional<Error> failure;  // of the policy: it allows nothing
    rego::Evaluation why;          // its rules are absent where they could not be found out
    std::optional<Error> token;    // why the token that is asked about would not be taken now
  };
  /// `trial`: the text of a policy in the place of the one that would decide; `policy_invalid` with line and column.
  [[nodiscard]] Result<ResourceAdvice> resource(const About& about, const rcar::ResourcePath& path,
                                                const std::optional<std::string>& trial, UnixTime now) const;

  struct Judgement {
    PolicyRef policy;
    appraisal::Appraisal appraisal;
  };
  struct AttestationAdvice {
    std::vector<Judgement> judgements;  // none of evidence that is not authentic
    std::optional<Error> evidence;      // why it is not
    std::optional<Error> token;         // as above
  };
  /// What the policy of that name says, or the trial; without both, each that is about TEEs. `not_found`. Of a token it is the
  /// claims of its evidence that are looked at. Claims, and those of a token, have no TCB that policies cannot accept.
  [[nodiscard]] Result<AttestationAdvice> attestation(const About& about, const std::optional<std::string>& name,
                                                      const std::optional<std::string>& trial, UnixTime now) const;

 private:
  struct Known;
  [[nodiscard]] Result<Known> claims_of(const About& about, UnixTime now) const;
  [[nodiscard]] Result<appraisal::Appraisal> judge(const Evidence& evidence, const appraisal::Policy& policy,
                                                   const codec::json::Value& reference_values, UnixTime now) const;
  const Services& services_;
  const RuleBook& rules_;
  const GuestTokens& tokens_;
  const Vault& vault_;  // for labels alone
};

}  // namespace cloister::kbs
