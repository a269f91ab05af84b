#include "cloister/token/verify.hpp"

#include <algorithm>

#include "cloister/crypto/jose.hpp"
#include "certificates.hpp"
#include "claims.hpp"

namespace cloister::token {
namespace {

namespace jose = crypto::jose;
namespace json = codec::json;
using jose::Algorithm;

constexpr std::string_view kTrustAuthorityProfiles[] = {"https://portal.trustauthority.intel.com/eat_profile.html",
                                                        "https://portal.eu.trustauthority.intel.com/eat_profile.html"};
constexpr double kLastSecond = 253402300799;  // of the year 9999
constexpr std::size_t kMaxSubmodules = 64;

Error bad_claim(std::string_view name, std::string why) {
  return Error{Errc::token_claim_invalid, "token: " + std::string{name} + ": " + std::move(why)};
}

std::string_view trimmed(std::string_view token) {
  const auto end = token.find_last_not_of(" \t\r\n");
  return token.substr(0, end == std::string_view::npos ? 0 : end + 1);
}

Error unknown_key(const jose::SignedToken& token, std::string why) {
  const std::string_view chain = token.brings_certificates ? "; the certificates in its header vouch for nothing here" : "";
  return Error{Errc::token_key_unknown, "token: " + std::move(why) + std::string{chain}};
}

Result<jose::Jwk> choose_key(const jose::SignedToken& token, const std::vector<jose::Jwk>& keys) {
  const auto shown = token.key ? std::optional{jose::thumbprint(*token.key)} : std::nullopt;
  const auto is_shown = [&](const jose::Jwk& key) { return !shown || jose::thumbprint(key.key) == *shown; };
  if (token.key_id) {
    for (const auto& key : keys) {
      const bool named = key.key_id == *token.key_id || (key.key_id.empty() && keys.size() == 1);
      if (named && is_shown(key)) return key;
    }
    return unknown_key(token, "its key \"" + *token.key_id + "\" is not among those given");
  }
  if (!shown && keys.size() != 1) return unknown_key(token, "it names no key, and " + std::to_string(keys.size()) + " are given");
  const auto found = std::ranges::find_if(keys, is_shown);
  if (found == keys.end()) return unknown_key(token, "the key that it brings along is not among those given");
  return *found;
}

/// A key that was given, else one that a root vouches for. Where roots are given, a key that has certificates is trusted
/// for these alone: a set may have come from anywhere.
Result<CertifiedKey> trusted_key(const jose::SignedToken& token, const Expected& expected) {
  auto key = choose_key(token, expected.keys);
  if (key && !key->certificates.empty() && !expected.roots.empty()) return certified_key(*key, expected.roots, expected.at);
  if (key) return CertifiedKey{std::move(key).value(), false};
  if (expected.roots.empty() || !token.brings_certificates) return key.error();
  return certified_key(token, expected.roots, expected.at);
}

Result<Kind> kind_of(const json::Value& claims) {
  const auto* member = claims.find("eat_profile");
  const auto* profile = member == nullptr ? nullptr : member->as_string();
  if (profile == nullptr) return Error{Errc::token_kind_unknown, "token: it says no eat_profile"};
  if (*profile == kEarProfile) return Kind::ear;
  if (*profile == kTrusteeProfile) return Kind::trustee;
  if (std::ranges::find(kTrustAuthorityProfiles, *profile) != std::end(kTrustAuthorityProfiles)) return Kind::trust_authority;
  return Error{Errc::token_kind_unknown, "token: eat_profile \"" + *profile + "\" is not known"};
}

bool suits(Kind kind, Algorithm algorithm) {
  const bool elliptic = algorithm == Algorithm::es256 || algorithm == Algorithm::es384;
  return elliptic == (kind != Kind::trust_authority);
}

/// RFC 7519 section 2, NumericDate.
Result<std::optional<UnixTime>> time_claim(const json::Value& claims, std::string_view name) {
  const auto* value = claims.find(name);
  if (value == nullptr) return std::optional<UnixTime>{};
  const auto seconds = value->as_double();
  if (!seconds || *seconds < 0 || *seconds > kLastSecond) return bad_claim(name, "seconds since 1970 expected");
  return std::optional{std::chrono::floor<std::chrono::microseconds>(
      std::chrono::sys_time<std::chrono::duration<double>>{std::chrono::duration<double>{*seconds}})};
}

Result<UnixTime> demanded_time(const json::Value& claims, std::string_view name) {
  CLOISTER_TRY(time, time_claim(claims, name));
  if (!time) return Error{Errc::missing_member, "token: " + std::string{name} + " expected"};
  return *time;
}

/// RFC 7519 section 4.1.3: one, or several of which one must be meant.
bool has_audience(const json::Value& claims, std::string_view wanted) {
  const auto* value = claims.find("aud");
  if (value == nullptr) return false;
  const auto is_wanted = [&](const json::Value& one) { return one.as_string() != nullptr && *one.as_string() == wanted; };
  if (const auto* several = value->as_array()) return std::ranges::any_of(*several, is_wanted);
  return is_wanted(*value);
}

const std::string* text_of(const json::Value* value) { return value == nullptr ? nullptr : value->as_string(); }

const std::string* nonce_of(const json::Value& claims, Kind kind) {
  if (kind != Kind::trust_authority) return text_of(claims.find("eat_nonce"));
  const auto* nonce = claims.find("verifier_nonce");
  return nonce == nullptr ? nullptr : text_of(nonce->find("val"));
}

Result<void> check_names(const json::Value& claims, Kind kind, const Expected& expected) {
  const auto* issuer = text_of(claims.find("iss"));
  if (expected.issuer && (issuer == nullptr || *issuer != *expected.issuer)) {
    return Error{Errc::token_issuer_mismatch, "token: issuer \"" + *expected.issuer + "\" expected, got " +
                                                  (issuer == nullptr ? "none" : '"' + *issuer + '"')};
  }
  if (expected.audience && !has_audience(claims, *expected.audience)) {
    return Error{Errc::token_audience_mismatch, "token: it is not for \"" + *expected.audience + '"'};
  }
  const auto* nonce = nonce_of(claims, kind);
  if (expected.nonce && (nonce == nullptr || *nonce != *expected.nonce)) {
    return Error{Errc::token_nonce_mismatch, "token: it is not about the nonce that was expected"};
  }
  return {};
}

/// Its name, or the value that stands for it in CBOR.
Result<Tier> status_of(const json::Value& value) {
  if (const auto* name = value.as_string()) {
    if (const auto tier = tier_from_string(*name)) return *tier;
  }
  for (const auto& [number, tier] : {std::pair{0, Tier::none}, {2, Tier::affirming}, {32, Tier::warning}, {96, Tier::contraindicated}}) {
    if (value.as_int() == number) return tier;
  }
  return bad_claim("ear.status", "none, affirming, warning or contraindicated expected");
}

Result<TrustVector> vector_of(const json::Value& value) {
  TrustVector out;
  for (const auto& [name, member] : *value.as_object()) {
    const auto known = std::ranges::find(kTrustClaims, name, &TrustClaim::name);
    if (known == kTrustClaims.end()) return bad_claim("ear.trustworthiness-vector", "no claim is called " + name);
    const auto number = member.as_int();
    if (!number || *number < INT8_MIN || *number > INT8_MAX) return bad_claim(name, "-128 to 127 expected");
    out.*known->member = static_cast<std::int8_t>(*number);
  }
  return out;
}

Result<Submodule> submodule_of(const std::string& name, const json::Value& value) {
  if (value.as_object() == nullptr) return bad_claim("submods", name + ": an object expected");
  json::Fields fields{value, "token: submods: " + name};
  Submodule out;
  out.name = name;
  const auto& status = fields.any("ear.status");
  const auto* vector = fields.optional_object("ear.trustworthiness-vector");
  out.policy_id = fields.optional_string("ear.appraisal-policy-id");
  CLOISTER_CHECK(fields.finish_lenient());
  CLOISTER_TRY(tier, status_of(status));
  out.status = tier;
  if (vector == nullptr) return out;
  CLOISTER_TRY(claims, vector_of(*vector));
  if (tier < claims.worst()) return bad_claim("ear.status", "it is better than the worst claim of " + name);
  out.vector = claims;
  return out;
}

Result<std::vector<Submodule>> ear_submodules(const json::Value& claims) {
  json::Fields fields{claims, "token"};
  const auto& verifier = fields.object("ear.verifier-id");
  const auto& members = fields.object("submods");
  CLOISTER_CHECK(fields.finish_lenient());
  json::Fields who{verifier, "token: ear.verifier-id"};
  static_cast<void>(who.string("developer"));
  static_cast<void>(who.string("build"));
  CLOISTER_CHECK(who.finish_lenient());
  const auto& named = *members.as_object();
  if (named.empty() || named.size() > kMaxSubmodules) return bad_claim("submods", "1 to 64 expected");
  std::vector<Submodule> out;
  for (const auto& [name, member] : named) {
    CLOISTER_TRY(submodule, submodule_of(name, member));
    out.push_back(std::move(submodule));
  }
  return out;
}

Result<bool> lab_of(const json::Value& claims) {
  const auto* value = claims.find(kLabClaim);
  if (value == nullptr) return false;
  const auto* lab = value->as_bool();
  if (lab == nullptr) return bad_claim(kLabClaim, "true or false expected");
  return *lab;
}

/// Of an attester and of what it is said to be.
Result<void> refuse_debug(const json::Value& claims) {
  const auto* status = claims.find("dbgstat");
  if (status != nullptr && *status != json::Value{"disabled"}) {
    return Error{Errc::debug_not_accepted, "token: dbgstat is not \"disabled\""};
  }
  for (const std::string_view name : {"sgx_is_debuggable", "tdx_is_debuggable"}) {
    const auto* flag = claims.find(name);
    if (flag != nullptr && *flag != json::Value{false}) {
      return Error{Errc::debug_not_accepted, "token: " + std::string{name} + " is not false"};
    }
  }
  return {};
}

Result<std::vector<Submodule>> trust_authority_submodule(const json::Value& claims) {
  json::Fields fields{claims, "token"};
  Submodule out;
  out.name = fields.string("attester_type");
  const auto status = fields.optional_string("attester_tcb_status");
  CLOISTER_CHECK(fields.finish_lenient());
  CLOISTER_CHECK(refuse_debug(claims));
  if (status) out.status = *status == "UpToDate" ? Tier::affirming : *status == "Revoked" ? Tier::contraindicated : Tier::warning;
  return std::vector{std::move(out)};
}

bool acceptable(Tier status, Tier worst) { return (status == Tier::none ? Tier::warning : status) <= worst; }

}  // namespace

std::string_view to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::ear: return "ear";
    case Kind::trustee: return "trustee";
    case Kind::trust_authority: return "trust-authority";
  }
  return "";
}

Result<Verified> verify(std::string_view text, const Expected& expected) {
  CLOISTER_TRY(token, jose::parse_signed(trimmed(text)));
  CLOISTER_TRY(trusted, trusted_key(token, expected));
  const auto& key = trusted.key;
  CLOISTER_CHECK(jose::verify_signature(token, key));
  CLOISTER_TRY(claims, jose::payload_of(token));
  CLOISTER_TRY(kind, kind_of(claims));
  if (!suits(kind, token.algorithm)) {
    return Error{Errc::token_algorithm_mismatch,
                 "token: of kind " + std::string{to_string(kind)} + ", which is not signed with " + std::string{to_string(token.algorithm)}};
  }

  CLOISTER_TRY(expires, demanded_time(claims, "exp"));
  CLOISTER_TRY(issued, demanded_time(claims, "iat"));
  CLOISTER_TRY(not_before, time_claim(claims, "nbf"));
  if (expected.at >= expires) return Error{Errc::token_expired, "token: expired at " + to_rfc3339(expires)};
  const auto begin = std::max(issued, not_before.value_or(issued));
  if (expected.at < begin) return Error{Errc::token_not_yet_valid, "token: valid from " + to_rfc3339(begin)};
  CLOISTER_CHECK(check_names(claims, kind, expected));

  CLOISTER_TRY(submodules, kind == Kind::trust_authority ? trust_authority_submodule(claims) : ear_submodules(claims));
  CLOISTER_TRY(said, lab_of(claims));
  const bool lab = said || trusted.lab;
  if (lab && !expected.allow_lab) return Error{Errc::token_of_lab, "token: of a lab's evidence, which is simulated"};
  for (const auto& one : submodules) {
    if (acceptable(one.status, expected.worst)) continue;
    return Error{Errc::token_status_not_accepted, "token: the status of " + one.name + " is " + std::string{to_string(one.status)}};
  }

  Verified out;
  out.kind_ = kind;
  out.algorithm_ = token.algorithm;
  out.key_id_ = key.key_id;
  if (const auto* issuer = text_of(claims.find("iss"))) out.issuer_ = *issuer;
  out.issued_ = issued;
  out.expires_ = expires;
  out.lab_ = lab;
  out.submodules_ = std::move(submodules);
  out.claims_ = std::move(claims);
  return out;
}

json::Value to_json(const Verified& token) {
  json::Object submodules;
  for (const auto& one : token.submodules()) {
    submodules.emplace_back(one.name, json::Object{{"status", to_string(one.status)},
                                                   {"policy_id", one.policy_id ? json::Value{*one.policy_id} : json::Value{}}});
  }
  return json::Value{json::Object{{"kind", to_string(token.kind())},
                                  {"algorithm", jose::to_string(token.algorithm())},
                                  {"key_id", token.key_id().empty() ? json::Value{} : json::Value{token.key_id()}},
                                  {"issuer", token.issuer().empty() ? json::Value{} : json::Value{token.issuer()}},
                                  {"issued", to_rfc3339(token.issued())},
                                  {"expires", to_rfc3339(token.expires())},
                                  {"lab", token.lab()},
                                  {"submodules", std::move(submodules)},
                                  {"claims", token.claims()}}};
}

}  // namespace cloister::token
