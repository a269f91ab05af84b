#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister::kms {

/// Where a token is, and where its PIN lies: a PKCS#11 URI (RFC 7512).
struct Pkcs11Uri {
  std::filesystem::path module;        // module-path: the vendor's library, absolute
  std::filesystem::path pin_file;      // pin-source: absolute
  std::optional<std::string> token;    // label; this or `serial`
  std::optional<std::string> serial;
  std::optional<std::string> manufacturer;
  std::optional<std::string> model;
  std::string object = "cloister";     // an id (core/ids.hpp): what the labels of our keys begin with
  friend bool operator==(const Pkcs11Uri&, const Pkcs11Uri&) = default;
};

inline constexpr std::size_t kMaxPkcs11Uri = 4096;

/// Reads `pkcs11:token=…;object=…?module-path=…&pin-source=file:…`. Errors: `malformed`, `duplicate_member`,
/// `missing_member`, and `unsupported` for an attribute that would be ignored, `pin-value` among them: a PIN belongs
/// into a file. Pure.
[[nodiscard]] Result<Pkcs11Uri> parse_pkcs11_uri(std::string_view text);

}  // namespace cloister::kms
