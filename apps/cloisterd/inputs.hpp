#pragma once

#include <optional>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/protocol/server_proof.hpp"
#include "config.hpp"

namespace cloister::server {

/// What decides whom the server trusts and what it releases: each file read once, so that what is measured is what is used.
struct Inputs {
  Digest32 config{};                              // SHA-256 of the configuration file
  std::optional<std::string> trust;
  std::optional<std::string> attestation_policy;  // of the key broker, as the others
  std::optional<std::string> resource_policy;
  std::optional<std::string> reference_values;
  std::optional<std::string> tls_certificate;     // not measured: it is renewed while the server runs
  Digest48 guest_mrtd{};                          // of the guest program

  /// Under the names that docs/protocol/server.md gives them.
  [[nodiscard]] protocol::ServerConfiguration measured() const;
  /// SHA-256 of the encoding: what RTMR3 is extended with, and reference values name.
  [[nodiscard]] Digest32 configuration_digest() const;
};

/// `io_error` with the file that cannot be read.
[[nodiscard]] Result<Inputs> read_inputs(const Config& config);

}  // namespace cloister::server
