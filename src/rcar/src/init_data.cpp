#include "cloister/rcar/init_data.hpp"

#include <algorithm>

#include "cloister/codec/toml.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr std::string_view kFormat = "toml";
constexpr std::string_view kInitDataVersion = "0.1.0";
constexpr std::string_view kTable = "data";
constexpr std::string_view kPolicyClaims = "agent_policy_claims";
constexpr std::string_view kPolicyData = "policy_data := {";
constexpr json::Limits kPolicyLimits{.bytes = kMaxAttestationSize, .depth = 64, .values = 200'000};
constexpr std::size_t kMaxTexts = 256;
constexpr codec::TomlLimits kOuterLimits{.bytes = kMaxAttestationSize, .depth = 3, .values = kMaxTexts + 8};
constexpr codec::TomlLimits kInnerLimits{.values = 10'000};

Result<Bytes> digest_by(std::string_view algorithm, std::string_view text) {
  const auto bytes = [](const auto& digest) { return to_bytes(ByteView{digest}); };
  if (algorithm == "sha256") return bytes(crypto::sha256(as_bytes(text)));
  if (algorithm == "sha384") return bytes(crypto::sha384(as_bytes(text)));
  if (algorithm == "sha512") return bytes(crypto::sha512(as_bytes(text)));
  return Error{Errc::unsupported, "init-data: algorithm: sha256, sha384 or sha512 expected, got " + std::string{algorithm}};
}

Error no_text(const std::string& name) { return Error{Errc::malformed, "init-data: " + name + ": a text expected"}; }

std::optional<json::Value> json_of_toml(std::string_view text) {
  auto value = codec::parse_toml(text, kInnerLimits);
  return value ? std::optional{*std::move(value)} : std::nullopt;
}

/// The object that a policy of the guest's agent ends with, if it is JSON.
std::optional<json::Value> policy_data(std::string_view policy) {
  const auto at = policy.find(kPolicyData);
  if (at == std::string_view::npos || (at != 0 && policy[at - 1] != '\n')) return std::nullopt;
  auto value = json::parse(policy.substr(at + kPolicyData.size() - 1), kPolicyLimits);
  if (!value) return std::nullopt;
  return *std::move(value);
}

}  // namespace

Result<MeasuredInitData> read_init_data(const InitData& init_data) {
  if (init_data.format != kFormat) {
    return Error{Errc::unsupported, "init-data: format: toml expected, got " + init_data.format};
  }
  auto document = codec::parse_toml(init_data.body, kOuterLimits);
  if (!document) return document.error().in("init-data");
  const std::string* version = nullptr;
  const std::string* algorithm = nullptr;
  json::Object* data = nullptr;
  for (auto& [name, value] : *document->as_object()) {
    if (name == kTable) {
      data = value.as_object();
      if (data == nullptr) return Error{Errc::malformed, "init-data: data: a table expected"};
      continue;
    }
    if (name != "version" && name != "algorithm") return Error{Errc::unsupported, "init-data: no member is called " + name};
    const auto* text = value.as_string();
    if (text == nullptr) return no_text(name);
    (name == "version" ? version : algorithm) = text;
  }
  if (version == nullptr || algorithm == nullptr || data == nullptr) {
    return Error{Errc::missing_member, "init-data: texts version and algorithm, and a table data expected"};
  }
  if (*version != kInitDataVersion) return Error{Errc::unsupported, "init-data: version 0.1.0 expected, got " + *version};
  if (data->size() > kMaxTexts) return Error{Errc::limit_exceeded, "init-data: at most 256 texts expected"};
  MeasuredInitData out;
  CLOISTER_TRY(digest, digest_by(*algorithm, init_data.body));
  out.digest = std::move(digest);
  for (auto& [name, value] : *data) {
    if (name == kPolicyClaims) {
      return Error{Errc::unsupported, "init-data: no text may be called " + name + ": it is what policy.rego ends with"};
    }
    auto* text = value.as_string();
    if (text == nullptr) return no_text("data." + name);
    out.texts.emplace_back(name, std::move(*text));
  }
  return out;
}

json::Value claims_of(const MeasuredInitData& init_data) {
  json::Object claims;
  for (const auto& [name, text] : init_data.texts) {
    const bool is_policy = name == "policy.rego";
    auto data = is_policy ? policy_data(text) : name == "aa.toml" || name == "cdh.toml" ? json_of_toml(text) : std::nullopt;
    claims.emplace_back(is_policy && data ? std::string{kPolicyClaims} : name, data ? *std::move(data) : json::Value{text});
  }
  return claims;
}

Bytes fitted(ByteView digest, std::size_t size) {
  Bytes out(size);
  std::ranges::copy(digest.first(std::min(size, digest.size())), out.begin());
  return out;
}

}  // namespace cloister::rcar
