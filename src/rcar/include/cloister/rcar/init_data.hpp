#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/rcar/attestation.hpp"

/// What a guest was configured with at launch ("initdata" of Confidential Containers, version 0.1.0).
namespace cloister::rcar {

/// Init-data that was read. Believed only where a TEE's evidence has `digest` in the register for it.
struct MeasuredInitData {
  Bytes digest;  // of the whole text, by the algorithm that it names: 32, 48 or 64 bytes
  std::vector<std::pair<std::string, std::string>> texts;  // by name, each once
};

/// TOML with `version` "0.1.0", `algorithm` "sha256", "sha384" or "sha512", and at most 256 texts (dates count as such) under
/// `[data]`, and nothing else. `unsupported` for another format, version, algorithm or member, and for a text called
/// "agent_policy_claims", which is the name of a claim below; `malformed`; `duplicate_member`; `limit_exceeded`.
[[nodiscard]] Result<MeasuredInitData> read_init_data(const InitData& init_data);

/// What init-data claims, an object: its texts by name; "aa.toml" and "cdh.toml" as objects where they are TOML that JSON
/// can say, of at most 256 KiB and 64 levels; and in the place of a "policy.rego" that ends with `policy_data := {…}` in
/// JSON, "agent_policy_claims" with that object. To be asked once evidence was found to have the digest: this parses.
[[nodiscard]] codec::json::Value claims_of(const MeasuredInitData& init_data);

/// A digest as a register of `size` bytes has it: zeros behind it, or what of it fits.
[[nodiscard]] Bytes fitted(ByteView digest, std::size_t size);

}  // namespace cloister::rcar
