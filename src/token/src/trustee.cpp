#include "cloister/token/trustee.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/jose.hpp"
#include "claims.hpp"

namespace cloister::token {
namespace {

namespace json = codec::json;

constexpr std::string_view kPolicyId = "default";
constexpr std::string_view kAnnotated = "ear.veraison.annotated-evidence";
constexpr std::string_view kRuntimeData = "runtime_data_claims";
constexpr std::string_view kKey = "tee-pubkey";

std::int64_t seconds(UnixTime time) { return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count(); }

json::Value submodule(Tier status, const json::Value& vector, json::Value evidence, const json::Value& extensions,
                      const json::Value& further) {
  json::Value out{json::Object{{"ear.status", to_string(status)},
                               {"ear.trustworthiness-vector", vector},
                               {"ear.appraisal-policy-id", kPolicyId},
                               {std::string{kAnnotated}, std::move(evidence)}}};
  if (!further.as_object()->empty()) out.set(kPoliciesClaim, further);
  for (const auto& [name, value] : *extensions.as_object()) {
    if (out.find(name) == nullptr && name != kPoliciesClaim) out.set(name, value);  // a policy adds, and changes nothing
  }
  return out;
}

/// `data.policy.extensions` of Trustee's policies: [{"name","key","value"}…].
json::Value extensions_of(const json::Value& list) {
  json::Value out{json::Object{}};
  if (list.as_array() == nullptr) return out;
  for (const auto& one : *list.as_array()) {
    const auto* name = one.find("name");
    const auto* value = one.find("value");
    if (name != nullptr && name->as_string() != nullptr && value != nullptr) out.set(*name->as_string(), *value);
  }
  return out;
}

/// Reasons that are no status: the policy could not say anything.
const appraisal::Reason* failure_in(const appraisal::Appraisal& appraisal) {
  const auto failed = [](const appraisal::Reason& reason) {
    return reason.code != Errc::appraisal_not_affirming && reason.code != Errc::tcb_status_not_accepted;
  };
  const auto found = std::ranges::find_if(appraisal.reasons, failed);
  return found == appraisal.reasons.end() ? nullptr : &*found;
}

/// That of the policy, or a worse one that no policy can better.
Tier status_of(const appraisal::Appraisal& appraisal) {
  const auto unacceptable = [](const appraisal::Reason& reason) { return reason.code == Errc::tcb_status_not_accepted; };
  return std::ranges::any_of(appraisal.reasons, unacceptable) ? Tier::contraindicated : appraisal.status;
}

json::Object vector_of(const appraisal::Appraisal& appraisal) {
  json::Object out;
  for (const auto& claim : appraisal.claims) out.emplace_back(claim.name, int{claim.value});
  return out;
}

}  // namespace

Result<Attester> Attester::from(const json::Value& claims, const appraisal::Appraisal& appraisal) {
  if (const auto* failure = failure_in(appraisal)) return Error{failure->code, failure->detail};
  Attester out;
  out.status_ = status_of(appraisal);
  out.vector_ = vector_of(appraisal);
  out.extensions_ = extensions_of(appraisal.extensions);
  out.evidence_ = claims;
  return out;
}

void Attester::judged(std::string_view name, const Digest32& policy, const appraisal::Appraisal& appraisal) {
  const auto* failure = failure_in(appraisal);
  json::Object says{{"status", to_string(failure == nullptr ? status_of(appraisal) : Tier::contraindicated)},
                    {"trustworthiness-vector", vector_of(appraisal)},
                    {"policy", codec::to_hex(policy)}};
  if (failure != nullptr) says.emplace_back("error", to_string(failure->code));
  further_.set(name, std::move(says));
}

Result<Attester> Attester::of(const attestation::BoundEvidence& evidence, const appraisal::Appraisal& appraisal) {
  CLOISTER_TRY(out, from(appraisal::claims_of(evidence.authentic()), appraisal));
  out.lab_ = evidence.lab();
  if (const auto& window = evidence.report().collateral) out.until_ = window->expires;
  return out;
}

Result<Attester> Attester::of_sample(const json::Value& claims, const appraisal::Appraisal& appraisal) {
  CLOISTER_TRY(out, from(claims, appraisal));
  out.lab_ = true;
  out.sample_ = true;
  return out;
}

Result<std::string> issue_trustee(const Attester& cpu, std::span<const Attester> devices, const GuestData& guest,
                                  const Issuer& issuer, std::string_view id, const TokenTerms& terms) {
  auto expires = terms.now + terms.lifetime;
  bool lab = cpu.lab_;
  bool sample = cpu.sample_;
  if (cpu.until_) expires = std::min(expires, *cpu.until_);
  auto evidence = cpu.evidence_;
  evidence.set(kRuntimeData, json::Object{{"nonce", guest.nonce},
                                          {std::string{kKey}, guest.tee_pubkey},
                                          {"additional-evidence", guest.additional_evidence}});
  if (!guest.init_data.is_null()) {
    evidence.set("init_data", guest.init_data).set("init_data_claims", guest.init_data_claims);
  }
  json::Object submodules{{"cpu0", submodule(cpu.status_, cpu.vector_, std::move(evidence), cpu.extensions_, cpu.further_)}};
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const auto& device = devices[i];
    lab = lab || device.lab_;
    sample = sample || device.sample_;
    if (device.until_) expires = std::min(expires, *device.until_);
    submodules.emplace_back("gpu" + std::to_string(i), submodule(device.status_, device.vector_, device.evidence_,
                                                                 device.extensions_, device.further_));
  }
  json::Value payload{json::Object{{"eat_profile", kTrusteeProfile},
                                   {"iss", issuer.name},
                                   {"jti", id},
                                   {"iat", seconds(terms.now)},
                                   {"exp", seconds(expires)}}};
  if (terms.audience) payload.set("aud", *terms.audience);
  payload.set("ear.verifier-id", json::Object{{"developer", "Cloister"}, {"build", issuer.build}});
  payload.set(kLabClaim, lab);
  if (sample) payload.set(kSampleClaim, true);
  if (!guest.session.empty()) payload.set(kSessionClaim, guest.session);
  payload.set("submods", std::move(submodules));
  return crypto::jose::sign_es256(issuer.key, issuer.key_id, "JWT", payload);
}

const json::Value* tee_pubkey_of(const json::Value& claims) noexcept {
  const auto* at = &claims;
  for (const auto name : {std::string_view{"submods"}, std::string_view{"cpu0"}, kAnnotated, kRuntimeData, kKey}) {
    at = at->find(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

}  // namespace cloister::token
