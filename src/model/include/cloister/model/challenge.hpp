#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/model/evidence_demand.hpp"

namespace cloister::model {

/// A secret that the key broker releases to the challenge's verified instances, by name inside the challenge.
struct SecretRef {
  std::string name;  // what the challenge calls it: an id (core/ids.hpp)
  std::string path;  // where the broker keeps it: 1 to 4 ids joined by '/'
  friend bool operator==(const SecretRef&, const SecretRef&) = default;
};

/// What an operator registers: everything about one version of a challenge. Immutable; a change is a new version.
struct ChallengeSpec {
  ChallengeId challenge;
  Digest32 image_digest{};             // SHA-256 of the OCI image manifest
  std::uint32_t memory_mib = 256;      // 16 to 1,048,576
  std::uint32_t instances = 1;         // wanted at the same time: 0 to 64
  std::chrono::seconds job_timeout{60};  // 1 s to 24 h; how long one attempt may run
  std::uint64_t max_payload_bytes = 4U << 20;   // 1 to 64 MiB
  std::uint64_t max_output_bytes = 4U << 20;    // 1 to 64 MiB
  std::vector<SecretRef> secrets;      // at most 32, unique names
  std::vector<std::string> derived_keys;  // purposes (model/derived_key.hpp) of keys that it needs; at most 8, unique
  std::optional<EvidenceDemand> server_evidence;  // what its instances demand of the server; none: nothing
  friend bool operator==(const ChallengeSpec&, const ChallengeSpec&) = default;
};

[[nodiscard]] Result<ChallengeSpec> parse_challenge_spec(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const ChallengeSpec& spec);
/// Deterministic CBOR of the specification: what its version is named after. Without derived keys and demand it is what it
/// was before there were any, and so is the JSON.
[[nodiscard]] Bytes encode(const ChallengeSpec& spec);
/// True for 1 to 4 ids joined by '/'.
[[nodiscard]] bool valid_secret_path(std::string_view path) noexcept;

/// What a TEE reports when it runs a version, computed before anything runs.
struct ReferenceValue {
  Digest48 mrtd{};
  Digest32 image_digest{};
  Digest32 configuration_digest{};
  friend bool operator==(const ReferenceValue&, const ReferenceValue&) = default;
};
[[nodiscard]] Result<ReferenceValue> parse_reference_value(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const ReferenceValue& value);

/// A registered version.
struct Version {
  VersionId id;
  ChallengeSpec spec;
  Bytes configuration;  // the measured configuration (protocol/launch.hpp)
  ReferenceValue reference;
  bool active = true;  // instances are kept running, jobs are taken
  UnixTime registered{};
};
[[nodiscard]] codec::json::Value to_json(const Version& version);
[[nodiscard]] Result<Version> parse_version(const codec::json::Value& value);

/// "sha256:" and 64 hex digits.
[[nodiscard]] std::string digest_text(const Digest32& digest);
[[nodiscard]] Result<Digest32> parse_digest(std::string_view text);

}  // namespace cloister::model
