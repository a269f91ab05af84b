#include "cloister/rcar/init_data.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "toml_json.hpp"

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

struct Document {
  std::vector<std::pair<std::string, std::string>> top;
  std::vector<std::pair<std::string, std::string>> data;
  bool has_data = false;
};

/// The part of TOML 1.0 that init-data is: texts by name, and one table of them; anything else in it is a mistake, which is
/// shown with its line. Functions return false once `error_` is set.
class Reader {
 public:
  explicit Reader(std::string_view text) noexcept : text_{text} {}

  Result<Document> run() {
    while (skip_empty()) {
      if (peek() == '[' ? !header() : !entry()) return *std::move(error_);
    }
    if (error_) return *std::move(error_);
    return std::move(out_);
  }

 private:
  [[nodiscard]] char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  [[nodiscard]] bool ahead(std::string_view what) const noexcept { return text_.substr(at_).starts_with(what); }
  bool take(std::string_view what) {
    if (!ahead(what)) return false;
    at_ += what.size();
    return true;
  }
  bool fail(std::string_view expected, Errc code = Errc::malformed) {
    const auto line = 1 + std::ranges::count(text_.substr(0, at_), '\n');
    error_.emplace(code, "init-data: line " + std::to_string(line) + ": " + std::string{expected});
    return false;
  }
  void skip_space() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }
  static bool control(char c) noexcept { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; }

  /// To the end of the line, which holds nothing but a comment.
  bool end_line() {
    skip_space();
    if (peek() == '#') {
      while (at_ < text_.size() && text_[at_] != '\n' && !ahead("\r\n")) {
        if (control(text_[at_])) return fail("no control characters expected");
        ++at_;
      }
    }
    if (at_ == text_.size() || take("\n") || take("\r\n")) return true;
    return fail("the end of the line expected");
  }

  /// False at the end of the text, and after a mistake.
  bool skip_empty() {
    for (;;) {
      skip_space();
      if (error_ || at_ == text_.size()) return false;
      if (peek() != '#' && peek() != '\n' && !ahead("\r\n")) return true;
      if (!end_line()) return false;
    }
  }

  bool header() {
    ++at_;
    skip_space();
    std::string name;
    if (!key(name)) return false;
    skip_space();
    if (!take("]")) return fail("a table's name and ']' expected");
    if (name != kTable) return fail("no table is called " + name, Errc::unsupported);
    if (out_.has_data) return fail("the table data comes twice", Errc::duplicate_member);
    out_.has_data = true;
    return end_line();
  }

  bool entry() {
    std::string name;
    std::string value;
    if (!key(name)) return false;
    skip_space();
    if (!take("=")) return fail("'=' expected after " + name);
    skip_space();
    if (!text(value) || !end_line()) return false;
    auto& into = out_.has_data ? out_.data : out_.top;
    if (std::ranges::any_of(into, [&](const auto& one) { return one.first == name; })) {
      return fail(name + " comes twice", Errc::duplicate_member);
    }
    if (into.size() == kMaxTexts) return fail("at most 256 texts expected", Errc::limit_exceeded);
    into.emplace_back(std::move(name), std::move(value));
    return true;
  }

  bool key(std::string& out) {
    if (peek() == '"' || peek() == '\'') return one_line(out);
    const auto bare = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    };
    while (bare(peek())) out.push_back(text_[at_++]);
    return !out.empty() || fail("a name expected");
  }

  bool text(std::string& out) {
    if (ahead("\"\"\"") || ahead("'''")) return many_lines(out);
    if (peek() == '"' || peek() == '\'') return one_line(out);
    return fail("a text expected");
  }

  bool one_line(std::string& out) {
    const char quote = text_[at_++];
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (control(c)) break;
      ++at_;
      if (c == quote) return true;
      if (c != '\\' || quote == '\'') {
        out.push_back(c);
      } else if (!escape(out)) {
        return false;
      }
    }
    return fail("a closing quote expected");
  }

  bool many_lines(std::string& out) {
    const std::string quotes(3, text_[at_]);
    at_ += quotes.size();
    if (!take("\n")) take("\r\n");  // right behind the quotes
    while (at_ < text_.size()) {
      if (take(quotes)) {
        // Up to two more are part of the text.
        for (int more = 0; more < 2 && peek() == quotes.front(); ++more, ++at_) out.push_back(quotes.front());
        return true;
      }
      const char c = text_[at_];
      if (control(c) && c != '\n' && !ahead("\r\n")) return fail("no control characters expected");
      ++at_;
      if (c != '\\' || quotes.front() == '\'') {
        out.push_back(c);
        if (c == '\r') out.push_back(text_[at_++]);  // with its line feed
      } else if (!folded() && !escape(out)) {
        return false;
      }
    }
    return fail("three closing quotes expected");
  }

  /// A backslash at the end of a line takes all white space with it, up to the next text.
  bool folded() {
    const auto end = text_.find_first_not_of(" \t", at_);
    if (end == std::string_view::npos || (text_[end] != '\n' && text_.substr(end, 2) != "\r\n")) return false;
    at_ = std::min(text_.find_first_not_of(" \t\r\n", end), text_.size());
    return true;
  }

  /// What follows a backslash.
  bool escape(std::string& out) {
    constexpr std::string_view kNames = "btnfr\"\\";
    constexpr std::string_view kMeans = "\b\t\n\f\r\"\\";
    const char c = peek();
    if (const auto at = kNames.find(c); c != '\0' && at != std::string_view::npos) {
      ++at_;
      out.push_back(kMeans[at]);
      return true;
    }
    if (c != 'u' && c != 'U') return fail("an escape character expected");
    ++at_;
    std::uint32_t code_point = 0;
    for (int digits = c == 'u' ? 4 : 8; digits > 0; --digits) {
      const auto lower = static_cast<char>(peek() | 0x20);
      const bool decimal = peek() >= '0' && peek() <= '9';
      if (!decimal && (lower < 'a' || lower > 'f')) return fail("hex digits expected");
      code_point = code_point << 4U | static_cast<std::uint32_t>(decimal ? peek() - '0' : lower - 'a' + 10);
      ++at_;
    }
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) return fail("a character's number expected");
    put_utf8(out, code_point);
    return true;
  }

  static void put_utf8(std::string& out, std::uint32_t code_point) {
    const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    const auto tail = [&](std::uint32_t shift) { put(0x80U | (code_point >> shift & 0x3FU)); };
    if (code_point < 0x80) return put(code_point);
    if (code_point < 0x800) {
      put(0xC0U | code_point >> 6U);
    } else if (code_point < 0x10000) {
      put(0xE0U | code_point >> 12U);
      tail(6);
    } else {
      put(0xF0U | code_point >> 18U);
      tail(12);
      tail(6);
    }
    tail(0);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Document out_;
  std::optional<Error> error_;
};

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
  if (!codec::is_utf8(as_bytes(init_data.body))) return Error{Errc::malformed, "init-data: not UTF-8"};
  CLOISTER_TRY(document, Reader{init_data.body}.run());
  std::optional<std::string> version;
  std::optional<std::string> algorithm;
  for (const auto& [name, value] : document.top) {
    if (name != "version" && name != "algorithm") return Error{Errc::unsupported, "init-data: no member is called " + name};
    (name == "version" ? version : algorithm) = value;
  }
  if (!version || !algorithm || !document.has_data) {
    return Error{Errc::missing_member, "init-data: texts version and algorithm, and a table data expected"};
  }
  if (*version != kInitDataVersion) return Error{Errc::unsupported, "init-data: version 0.1.0 expected, got " + *version};
  MeasuredInitData out;
  CLOISTER_TRY(digest, digest_by(*algorithm, init_data.body));
  out.digest = std::move(digest);
  for (const auto& [name, value] : document.data) {
    if (name == kPolicyClaims) {
      return Error{Errc::unsupported, "init-data: no text may be called " + name + ": it is what policy.rego ends with"};
    }
  }
  out.texts = std::move(document.data);
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
