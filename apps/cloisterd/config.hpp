#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/device/select.hpp"
#include "cloister/kms/pkcs11_uri.hpp"

namespace cloister::server {

/// What the server takes at most; beyond it answers 429 or 503 with Retry-After.
struct Limits {
  std::uint32_t connections = 1024;
  std::uint32_t pending_requests = 512;
  std::uint32_t requests_per_second_per_address = 200;  // of one IPv4 address or IPv6 /64; loopback has no limit
  std::uint32_t requests_per_second_per_token = 1000;
  std::uint32_t requests_per_second_per_tenant = 0;  // of its operators together, and of its guests together; 0: no limit
};

/// Where the server gets collateral by itself. What it gives is verified like what a file gives.
struct CollateralServices {
  std::filesystem::path folder;        // of the cache; made if it is missing
  std::vector<std::string> services;   // PCS or PCCS, in the order in which they are asked; none: Intel's
  std::vector<std::string> kds_services{};  // the same of AMD's key distribution service
  std::optional<std::filesystem::path> ca;  // authorities of the services, PEM; the system's
};

/// The key broker of Confidential Containers' guests, under /kbs/v0.
struct KeyBroker {
  std::string tenant = "default";  // whose resources these are
  std::optional<std::filesystem::path> attestation_policy;  // Rego; the one that is built in
  std::optional<std::filesystem::path> resource_policy;     // Rego; the one that is built in
  std::optional<std::filesystem::path> reference_values;    // JSON object, for the attestation policy; none
  bool sample_evidence = false;                             // evidence that proves nothing; taints the server
  bool protocol_administration = true;  // what the public client's administrators send is taken under /kbs/v0
  std::uint32_t max_resources = 10'000;                     // of each tenant
  std::uint64_t max_resource_bytes = std::uint64_t{256} << 20;  // of all values of each tenant
};

/// The TEE that the server itself runs in, whose evidence it shows (docs/protocol/server.md).
struct Tee {
  device::DeviceKind device = device::DeviceKind::tdx_guest;
  std::optional<std::filesystem::path> socket;      // of the lab's device; that kind alone has one
  std::optional<std::filesystem::path> collateral;  // what verifies its quotes, where the server's own has nothing for them
};

/// Everything that cloisterd is told, from one TOML file; validated whole before anything starts.
///
///   data = "/var/lib/cloister"         # database, blobs, keys; made if it is missing
///   listen = "127.0.0.1:7443"          # port 0: any free one
///   guest = "/usr/libexec/cloister-guest"   # what runs in every TD; its measurement is part of reference values
///   collateral = "/etc/cloister/collateral" # bundle: a directory or a QuoteCollateralV3 JSON file
///                                           # or, instead, [collateral_services]
///   trust = "/etc/cloister/trust.json"      # roots beyond the vendors' (lab roots)
///   kms = "pkcs11:token=…?module-path=…&pin-source=file:…"  # keys in an HSM (docs/kms.md), not in `data`/master.key
///   session_lifetime = "1h"
///   lease = "30s"
///   log_level = "info"
///   [tls]                              # needed to listen beyond loopback
///   certificate = "server.pem"         # with its chain; read again when it changes, and at SIGHUP
///   key = "server.key"
///   [collateral_services]              # instead of `collateral`: fetched when it is needed, and kept
///   folder = "/var/cache/cloister"
///   services = ["https://pccs.example:8081"]  # PCS or PCCS, first first; without it Intel's
///   kds_services = ["https://kds.example"]    # for SNP reports, first first; without it AMD's
///   ca = "pccs-ca.pem"                 # without it the system's authorities
///   [key_broker]                       # for guests of Confidential Containers, see KeyBroker; without it there is none
///   tenant = "default"
///   attestation_policy = "attestation.rego"
///   resource_policy = "resource.rego"
///   reference_values = "reference-values.json"
///   sample_evidence = false
///   max_resources = 10000
///   max_resource_bytes = "256MiB"
///   [tee]                              # the TEE that this server runs in; without it the server shows no evidence of its own
///   device = "tdx-guest"               # or "configfs-tsm", or "lab-socket": LAB ONLY - NOT HARDWARE
///   socket = "tee.sock"                # of `cloister lab device`, for "lab-socket"
///   collateral = "tee-collateral.json" # what verifies its quotes, where the server's own collateral does not
///   [limits]                           # see Limits
///   connections = 1024
///   pending_requests = 512
///   requests_per_second_per_address = 200
///   requests_per_second_per_token = 1000
///   requests_per_second_per_tenant = 500   # without it there is no limit
struct Config {
  std::filesystem::path data;
  std::string address = "127.0.0.1";
  std::uint16_t port = 7443;
  std::filesystem::path guest;
  std::filesystem::path collateral;  // empty: `collateral_services`
  std::optional<CollateralServices> collateral_services;
  std::optional<KeyBroker> key_broker;
  std::optional<Tee> tee;
  std::optional<std::filesystem::path> trust;
  std::optional<kms::Pkcs11Uri> kms;  // nothing: a file in `data`
  std::optional<std::filesystem::path> tls_certificate;
  std::optional<std::filesystem::path> tls_key;
  std::chrono::milliseconds session_lifetime{3'600'000};  // 1 min to 24 h
  std::chrono::milliseconds lease{30'000};                // 1 s to 10 min; an attempt without a heartbeat for so long is lost
  log::Level log_level = log::Level::info;
  Limits limits;
  Digest32 digest{};  // SHA-256 of the text that this was read from
};

/// `configuration_invalid` with every mistake, one a line, each with its place. Relative paths are relative to
/// `directory`, the one that the file stands in.
[[nodiscard]] Result<Config> parse_config(std::string_view toml, const std::filesystem::path& directory);
/// The same from a file; that the files it names can be read is checked too.
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file);

/// "30s", "5m", "1h", "250ms": a positive integer and a unit.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace cloister::server
