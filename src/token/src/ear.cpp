#include "cloister/token/ear.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/jose.hpp"
#include "cloister/verdict/json.hpp"
#include "claims.hpp"

namespace cloister::token {
namespace {

namespace json = codec::json;

// AR4SI section 2.3.4.
constexpr std::int8_t kRecognizedInstance = 2;
constexpr std::int8_t kGenuineHardware = 2;
constexpr std::int8_t kUnsafeHardware = 32;
constexpr std::int8_t kApprovedConfiguration = 2;
constexpr std::int8_t kNoConfigurationKnownBad = 3;
constexpr std::int8_t kUnsafeConfiguration = 32;
constexpr std::int8_t kUnsupportableConfiguration = 96;
constexpr std::int8_t kApprovedAtBoot = 3;
constexpr std::int8_t kUnrecognizedExecutables = 33;
constexpr std::int8_t kIsolatedMemory = 2;
constexpr std::int8_t kVisibleMemory = 96;

json::Value to_json(const TrustVector& vector) {
  json::Object out;
  for (const auto& claim : kTrustClaims) {
    if (const auto value = vector.*claim.member; value != 0) out.emplace_back(std::string{claim.name}, int{value});
  }
  return json::Value{std::move(out)};
}

std::int64_t seconds(UnixTime time) { return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count(); }

/// A token says nothing about a time at which the collateral behind it no longer holds.
UnixTime expiry(const policy::Appraised& appraised, const TokenTerms& terms) {
  const auto wanted = terms.now + terms.lifetime;
  const auto& window = appraised.report().collateral;
  return window ? std::min(wanted, window->expires) : wanted;
}

/// Under the TEE's name, as Trustee has it, what the evidence says; beside it what was found out of its TCB.
json::Value annotated_evidence(const policy::Appraised& appraised, std::string_view tee) {
  json::Object out{{std::string{tee}, verdict::to_json(appraised.claims())}};
  out.emplace_back("report_data", codec::to_hex(appraised.claims().report_data()));
  const auto* snp = appraised.claims().snp();
  out.emplace_back("tcb", snp != nullptr ? verdict::tcb_json(*snp) : verdict::to_json(appraised.tcb()));
  return json::Value{std::move(out)};
}

/// Of SNP, whose vendor gives no TCB statuses, only a policy that demands a minimum can say so.
std::int8_t hardware_claim(const policy::Appraised& appraised, const policy::Policy& policy) {
  if (appraised.claims().snp() != nullptr) return policy.snp.min_tcb.empty() ? std::int8_t{0} : kGenuineHardware;
  return appraised.tcb().status == attestation::TcbStatus::up_to_date ? kGenuineHardware : kUnsafeHardware;
}

std::string_view tee_of(const attestation::Claims& claims) {
  if (claims.snp() != nullptr) return "snp";
  return claims.td() != nullptr ? "tdx" : "sgx";
}

}  // namespace

Tier TrustVector::worst() const noexcept {
  auto out = Tier::none;
  for (const auto& claim : kTrustClaims) out = std::max(out, tier_of(this->*claim.member));
  return out;
}

TrustVector trust_vector(const policy::Appraised& appraised, const policy::Policy& policy) {
  const auto found = attestation::attribute_findings(appraised.claims());
  const bool measured = !policy.measurements.empty();
  TrustVector out;
  out.instance_identity = kRecognizedInstance;
  out.hardware = hardware_claim(appraised, policy);
  out.configuration = measured ? kApprovedConfiguration : kNoConfigurationKnownBad;
  if (found.reserved_bits) out.configuration = kUnsafeConfiguration;
  if (found.debug) out.configuration = kUnsupportableConfiguration;
  out.executables = measured ? kApprovedAtBoot : kUnrecognizedExecutables;
  out.runtime_opaque = found.debug ? kVisibleMemory : kIsolatedMemory;
  return out;
}

Result<std::string> issue_ear(const policy::Appraised& appraised, const policy::Policy& policy, const Issuer& issuer,
                              const TokenTerms& terms) {
  if (policy::digest(policy) != appraised.policy_digest()) {
    return Error{Errc::invalid_argument, "token: the policy is not the one that the evidence was appraised by"};
  }
  const auto tee = tee_of(appraised.claims());
  const auto vector = trust_vector(appraised, policy);
  json::Value submodule{json::Object{{"ear.status", to_string(vector.worst())},
                                     {"ear.trustworthiness-vector", to_json(vector)},
                                     {"ear.appraisal-policy-id", "sha256:" + codec::to_hex(appraised.policy_digest())},
                                     {"ear.veraison.annotated-evidence", annotated_evidence(appraised, tee)}}};
  json::Value payload{json::Object{{"eat_profile", kEarProfile},
                                   {"iss", issuer.name},
                                   {"iat", seconds(terms.now)},
                                   {"nbf", seconds(terms.now)},
                                   {"exp", seconds(expiry(appraised, terms))}}};
  if (terms.audience) payload.set("aud", *terms.audience);
  if (terms.nonce) payload.set("eat_nonce", *terms.nonce);
  payload.set("ear.verifier-id", json::Object{{"developer", "Cloister"}, {"build", issuer.build}});
  payload.set(std::string{kLabClaim}, appraised.lab());
  payload.set("submods", json::Object{{"cpu0", std::move(submodule)}});
  return crypto::jose::sign_es256(issuer.key, issuer.key_id, "JWT", payload);
}

}  // namespace cloister::token
