#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/rcar/messages.hpp"

/// What a guest answers the challenge with, and what its evidence has to be bound to.
namespace cloister::rcar {

inline constexpr std::size_t kMaxAttestationSize = 2U << 20;

/// What the guest was configured with, as it says; believed only once evidence binds its digest.
struct InitData {
  std::string format;  // "toml"
  std::string body;
  friend bool operator==(const InitData&, const InitData&) = default;
};

struct Attestation {
  std::optional<InitData> init_data;
  std::string nonce;                    // as the challenge wrote it
  crypto::jose::EncryptionKey tee_key;  // what replies are sealed to
  std::string primary_evidence;         // of the TEE: JSON, verbatim
  std::string additional_evidence;      // of devices: a JSON text, verbatim; empty for none
};

/// `tee-evidence` with both of its members, and `runtime-data` with `nonce` and `tee-pubkey`, are required; `init-data` may
/// be absent or null. Unknown members are ignored, as by the public server, but none in the key: it is hashed as it is
/// understood. Errors: those of the codec and of `EncryptionKey::parse`, with the place.
[[nodiscard]] Result<Attestation> parse_attestation(std::string_view text);
/// As the public client writes it. `primary_evidence` must be JSON (asserted).
[[nodiscard]] std::string write(const Attestation& attestation);

/// Evidence of a device, from `additional_evidence`.
struct DeviceEvidence {
  Tee device;
  codec::json::Value evidence;
};
/// In order of the text; empty for an empty text. `malformed` unless it is an object; `unsupported` for a kind that the
/// protocol does not name; `limit_exceeded` beyond 16.
[[nodiscard]] Result<std::vector<DeviceEvidence>> parse_additional_evidence(std::string_view text);

/// SHA-384 of the canonical JSON (RFC 8785) of {"additional-evidence","nonce","tee-pubkey"}: the report data of the TEE.
/// `malformed` for additional evidence that is not UTF-8.
[[nodiscard]] Result<Digest48> primary_report_data(std::string_view nonce, const crypto::jose::EncryptionKey& key,
                                                   std::string_view additional_evidence);
/// The same of {"nonce","tee-pubkey"}: the report data of every device.
[[nodiscard]] Result<Digest48> device_report_data(std::string_view nonce, const crypto::jose::EncryptionKey& key);
/// The digest as evidence carries it: zeros behind it.
[[nodiscard]] Digest64 padded(const Digest48& report_data) noexcept;

}  // namespace cloister::rcar
