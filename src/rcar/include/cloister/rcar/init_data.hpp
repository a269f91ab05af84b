#pragma once

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/rcar/attestation.hpp"

/// What a guest was configured with at launch ("initdata" of Confidential Containers, version 0.1.0).
namespace cloister::rcar {

/// Init-data that was read. Believed only where a TEE's evidence has `digest` in the register for it.
struct MeasuredInitData {
  Bytes digest;               // of the whole text, by the algorithm that it names: 32, 48 or 64 bytes
  codec::json::Value claims;  // an object: below
};

/// TOML with `version` "0.1.0", `algorithm` "sha256", "sha384" or "sha512", and texts under `[data]`. The claims are these
/// texts by name; "aa.toml" and "cdh.toml" as the JSON that they stand for, where they are TOML; and in the place of a
/// "policy.rego" that ends with `policy_data := {…}` in JSON, "agent_policy_claims" with that object.
/// `unsupported` for another format, version, algorithm or member; `malformed` with line and column; `limit_exceeded` for
/// more than 1024 dots outside texts, each of which may nest a table.
[[nodiscard]] Result<MeasuredInitData> read_init_data(const InitData& init_data);

/// A digest as a register of `size` bytes has it: zeros behind it, or what of it fits.
[[nodiscard]] Bytes fitted(ByteView digest, std::size_t size);

}  // namespace cloister::rcar
