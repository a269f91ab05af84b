#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"

namespace cloister::server {

/// Everything that cloisterd is told, from one TOML file; validated whole before anything starts.
///
///   data = "/var/lib/cloister"         # database, blobs, keys; made if it is missing
///   listen = "127.0.0.1:7443"          # port 0: any free one
///   guest = "/usr/libexec/cloister-guest"   # what runs in every TD; its measurement is part of reference values
///   collateral = "/etc/cloister/collateral" # bundle: a directory or a QuoteCollateralV3 JSON file
///   trust = "/etc/cloister/trust.json"      # roots beyond the vendors' (lab roots)
///   session_lifetime = "1h"
///   lease = "30s"
///   log_level = "info"
///   [tls]                              # needed to listen beyond loopback
///   certificate = "server.pem"
///   key = "server.key"
struct Config {
  std::filesystem::path data;
  std::string address = "127.0.0.1";
  std::uint16_t port = 7443;
  std::filesystem::path guest;
  std::filesystem::path collateral;
  std::optional<std::filesystem::path> trust;
  std::optional<std::filesystem::path> tls_certificate;
  std::optional<std::filesystem::path> tls_key;
  std::chrono::milliseconds session_lifetime{3'600'000};  // 1 min to 24 h
  std::chrono::milliseconds lease{30'000};                // 1 s to 10 min; an attempt without a heartbeat for so long is lost
  log::Level log_level = log::Level::info;
};

/// `configuration_invalid` with every mistake, one a line, each with its place. Relative paths are relative to
/// `directory`, the one that the file stands in.
[[nodiscard]] Result<Config> parse_config(std::string_view toml, const std::filesystem::path& directory);
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file);

/// "30s", "5m", "1h", "250ms": a positive integer and a unit.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace cloister::server
