#include "cloister/kms/pkcs11_uri.hpp"

#include <algorithm>
#include <set>

#include "cloister/core/ids.hpp"

namespace cloister::kms {
namespace {

constexpr std::string_view kScheme = "pkcs11:";
constexpr std::string_view kFile = "file:";

Error malformed(const std::string& why) { return Error{Errc::malformed, "PKCS#11 URI: " + why}; }

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

/// RFC 7512, section 2.3: what stands unescaped in a path attribute (`&` too) or a query attribute (`/` and `?` too).
bool plain(char letter) {
  constexpr std::string_view kMarks = "-._~:[]@!$'()*+,=&/?";
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
         kMarks.find(letter) != std::string_view::npos;
}

Result<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      if (!plain(text[i])) return malformed("a character that must be escaped");
      out += text[i];
      continue;
    }
    const int high = text.size() - i > 2 ? hex_digit(text[i + 1]) : -1;
    const int low = text.size() - i > 2 ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return malformed("% and two hexadecimal digits expected");
    if (high == 0 && low == 0) return malformed("a zero byte");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Result<std::filesystem::path> absolute(std::string_view name, const std::string& value) {
  std::filesystem::path path{value};
  if (!path.is_absolute()) return malformed(std::string{name} + ": an absolute path expected");
  return path;
}

Result<std::filesystem::path> pin_file(const std::string& value) {
  std::string_view path = value;
  if (path.starts_with(kFile)) path.remove_prefix(kFile.size());
  if (path.starts_with("//")) path.remove_prefix(2);
  if (path.starts_with("//")) return malformed("pin-source: a file of this machine expected");
  return absolute("pin-source", std::string{path});
}

/// Takes in one attribute of the path (before `?`) or of the query.
Result<void> put(Pkcs11Uri& uri, bool query, std::string_view name, const std::string& value) {
  const auto label = [&](std::optional<std::string>& into, std::size_t longest) -> Result<void> {
    if (value.size() > longest) return malformed(std::string{name} + ": " + std::to_string(longest) + " bytes at most");
    into = value;
    return {};
  };
  if (!query && name == "token") return label(uri.token, 32);  // lengths of CK_TOKEN_INFO
  if (!query && name == "serial") return label(uri.serial, 16);
  if (!query && name == "manufacturer") return label(uri.manufacturer, 32);
  if (!query && name == "model") return label(uri.model, 16);
  if (!query && name == "object") {
    if (!valid_id(value)) return malformed("object: 1 to 64 characters of [a-z0-9-_.] expected");
    uri.object = value;
    return {};
  }
  if (query && name == "module-path") {
    CLOISTER_TRY(path, absolute(name, value));
    uri.module = std::move(path);
    return {};
  }
  if (query && name == "pin-source") {
    CLOISTER_TRY(path, pin_file(value));
    uri.pin_file = std::move(path);
    return {};
  }
  if (query && name == "pin-value") {
    return Error{Errc::unsupported, "PKCS#11 URI: pin-value: a PIN belongs into a file, named by pin-source"};
  }
  return Error{Errc::unsupported, "PKCS#11 URI: an attribute that is not known here: " + std::string{name}};
}

Result<void> read(Pkcs11Uri& uri, bool query, std::string_view list, std::set<std::string_view>& seen) {
  const char separator = query ? '&' : ';';
  while (!list.empty()) {
    const auto end = std::min(list.find(separator), list.size());
    const auto item = list.substr(0, end);
    const auto equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == item.size()) {
      return malformed("NAME=VALUE expected");
    }
    const auto name = item.substr(0, equals);
    if (!std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; })) {
      return malformed("a name of an attribute expected");
    }
    if (!seen.insert(name).second) {
      return Error{Errc::duplicate_member, "PKCS#11 URI: " + std::string{name} + " twice"};
    }
    CLOISTER_TRY(value, unescape(item.substr(equals + 1)));
    CLOISTER_CHECK(put(uri, query, name, value));
    if (end + 1 == list.size()) return malformed("nothing after a separator");
    list = end == list.size() ? std::string_view{} : list.substr(end + 1);
  }
  return {};
}

}  // namespace

Result<Pkcs11Uri> parse_pkcs11_uri(std::string_view text) {
  if (text.size() > kMaxPkcs11Uri) {
    return Error{Errc::limit_exceeded, "PKCS#11 URI: " + std::to_string(kMaxPkcs11Uri) + " bytes at most"};
  }
  if (!text.starts_with(kScheme)) return malformed("pkcs11:… expected");
  text.remove_prefix(kScheme.size());
  const auto question = std::min(text.find('?'), text.size());
  Pkcs11Uri uri;
  std::set<std::string_view> seen;
  CLOISTER_CHECK(read(uri, false, text.substr(0, question), seen));
  if (question < text.size()) CLOISTER_CHECK(read(uri, true, text.substr(question + 1), seen));
  const auto missing = [](std::string_view what) {
    return Error{Errc::missing_member, "PKCS#11 URI: " + std::string{what} + " is missing"};
  };
  if (!uri.token && !uri.serial) return missing("token (or serial)");
  if (uri.module.empty()) return missing("module-path");
  if (uri.pin_file.empty()) return missing("pin-source");
  return uri;
}

}  // namespace cloister::kms
