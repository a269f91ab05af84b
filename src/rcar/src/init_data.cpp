#include "cloister/rcar/init_data.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <toml++/toml.h>

#include "cloister/crypto/hash.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr std::string_view kFormat = "toml";
constexpr std::string_view kInitDataVersion = "0.1.0";
constexpr std::string_view kPolicyData = "policy_data := {";
constexpr std::size_t kMaxDots = 1024;
constexpr json::Limits kPolicyLimits{.bytes = kMaxAttestationSize, .depth = 64, .values = 200'000};

/// Skips what of a text begins at `at`, by its quote: multi-line ones have it three times (TOML 1.0, "String").
std::size_t end_of_text(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const bool multi_line = text.substr(at, 3) == std::string(3, quote);
  const auto closing = std::string(multi_line ? 3 : 1, quote);
  at += closing.size();
  while (at < text.size() && text.substr(at, closing.size()) != closing) {
    if (!multi_line && text[at] == '\n') return at;
    at += quote == '"' && text[at] == '\\' ? 2U : 1U;
  }
  return at + closing.size();
}

/// Each dot of a key nests a table, and the parser has no limit of its own for them.
bool few_dots(std::string_view text) {
  std::size_t dots = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      at = end_of_text(text, at);
    } else if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else {
      dots += c == '.' ? 1 : 0;
      ++at;
    }
  }
  return dots <= kMaxDots;
}

Result<toml::table> parse(std::string_view text, std::string_view what) {
  if (!few_dots(text)) return Error{Errc::limit_exceeded, std::string{what} + ": at most 1024 dots outside texts expected"};
  auto parsed = toml::parse(text);
  if (parsed) return std::move(parsed).table();
  const auto& where = parsed.error().source().begin;
  return Error{Errc::malformed, std::string{what} + ": line " + std::to_string(where.line) + ", column " +
                                    std::to_string(where.column) + ": " + std::string{parsed.error().description()}};
}

template <class Time>
json::Value time_text(const Time& time) {
  std::ostringstream out;
  out << time;
  return out.str();
}

/// Numbers that JSON has not are texts, as TOML writes them.
json::Value to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    json::Object out;
    for (const auto& [name, member] : *table) out.emplace_back(std::string{name.str()}, to_json(member));
    return out;
  }
  if (const auto* array = node.as_array()) {
    json::Array out;
    for (const auto& item : *array) out.push_back(to_json(item));
    return out;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::int64_t{number->get()};
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_floating_point()) {
    const double value = number->get();
    if (std::isfinite(value)) return value;
    return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  }
  if (const auto* date = node.as_date()) return time_text(date->get());
  if (const auto* time = node.as_time()) return time_text(time->get());
  if (const auto* both = node.as_date_time()) return time_text(both->get());
  return {};
}

Result<Bytes> digest_by(std::string_view algorithm, std::string_view text) {
  const auto bytes = [](const auto& digest) { return to_bytes(ByteView{digest}); };
  if (algorithm == "sha256") return bytes(crypto::sha256(as_bytes(text)));
  if (algorithm == "sha384") return bytes(crypto::sha384(as_bytes(text)));
  if (algorithm == "sha512") return bytes(crypto::sha512(as_bytes(text)));
  return Error{Errc::unsupported, "init-data: algorithm: sha256, sha384 or sha512 expected, got " + std::string{algorithm}};
}

/// The object that a policy of the guest's agent ends with, if it is JSON.
std::optional<json::Value> policy_data(std::string_view policy) {
  const auto at = policy.find(kPolicyData);
  if (at == std::string_view::npos) return std::nullopt;
  auto value = json::parse(policy.substr(at + kPolicyData.size() - 1), kPolicyLimits);
  if (!value) return std::nullopt;
  return *std::move(value);
}

std::pair<std::string, json::Value> claim_of(const std::string& name, const std::string& text) {
  if (name == "aa.toml" || name == "cdh.toml") {
    if (const auto table = parse(text, name)) return {name, to_json(*table)};
  }
  if (name == "policy.rego") {
    if (auto data = policy_data(text)) return {"agent_policy_claims", *std::move(data)};
  }
  return {name, text};
}

}  // namespace

Result<MeasuredInitData> read_init_data(const InitData& init_data) {
  if (init_data.format != kFormat) {
    return Error{Errc::unsupported, "init-data: format: toml expected, got " + init_data.format};
  }
  CLOISTER_TRY(table, parse(init_data.body, "init-data"));
  for (const auto& [name, member] : table) {
    if (name != "version" && name != "algorithm" && name != "data") {
      return Error{Errc::unsupported, "init-data: no member is called " + std::string{name.str()}};
    }
  }
  const auto version = table["version"].value<std::string>();
  const auto algorithm = table["algorithm"].value<std::string>();
  const auto* data = table["data"].as_table();
  if (!version || !algorithm || data == nullptr) {
    return Error{Errc::missing_member, "init-data: texts version and algorithm, and a table data expected"};
  }
  if (*version != kInitDataVersion) return Error{Errc::unsupported, "init-data: version 0.1.0 expected, got " + *version};
  MeasuredInitData out;
  CLOISTER_TRY(digest, digest_by(*algorithm, init_data.body));
  out.digest = std::move(digest);
  json::Value claims{json::Object{}};
  for (const auto& [name, member] : *data) {
    const auto* text = member.as_string();
    if (text == nullptr) return Error{Errc::malformed, "init-data: data: " + std::string{name.str()} + ": a text expected"};
    auto [claim, value] = claim_of(std::string{name.str()}, text->get());
    claims.set(claim, std::move(value));
  }
  out.claims = std::move(claims);
  return out;
}

Bytes fitted(ByteView digest, std::size_t size) {
  Bytes out(size);
  std::ranges::copy(digest.first(std::min(size, digest.size())), out.begin());
  return out;
}

}  // namespace cloister::rcar
