#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/result.hpp"

namespace cloister::http {

/// Whom a client talks to.
struct Origin {
  bool tls = false;
  std::string host;       // without brackets
  std::uint16_t port = 0;
  std::string authority;  // for the Host field
};

/// "http[s]://host[:port]" or "ws[s]://…", a slash at the end allowed; `invalid_argument` for anything else.
[[nodiscard]] Result<Origin> parse_origin(std::string_view url);

/// "localhost", and the loopback addresses.
[[nodiscard]] bool is_loopback(const std::string& host);

}  // namespace cloister::http
