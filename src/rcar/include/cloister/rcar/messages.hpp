#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// The messages that open the handshake and end it: request, challenge, and the token that follows an attestation.
namespace cloister::rcar {

/// The version that is spoken here. Any 0.4.N is understood.
inline constexpr std::string_view kVersion = "0.4.0";

/// The kinds of evidence that the protocol names.
enum class Tee { az_snp_vtpm, az_tdx_vtpm, cca, csv, hygondcu, nvidia, nvidia_dpu, sample, sampledevice, se, sgx, snp, tdx, tpm };
/// As messages write it, e.g. "az-snp-vtpm".
[[nodiscard]] std::string_view to_string(Tee tee) noexcept;
[[nodiscard]] std::optional<Tee> tee_from_string(std::string_view name) noexcept;

inline constexpr std::size_t kMaxRequestSize = 16U << 10;

/// What a guest begins with.
struct Request {
  std::string version{kVersion};
  Tee tee = Tee::sample;
  friend bool operator==(const Request&, const Request&) = default;
};
/// `unsupported` for a version that is no 0.4.N, with the words that clients look for ("KBS Client Protocol Version
/// Mismatch"), and for an unknown TEE; `missing_member` where `version`, `tee` or `extra-params` is absent. What is in
/// `extra-params` and unknown members are ignored, as by the public server.
[[nodiscard]] Result<Request> parse_request(std::string_view text);
/// As the public client writes it, with its hash algorithms in `extra-params`.
[[nodiscard]] std::string write(const Request& request);

/// What the broker answers: a nonce of 32 random bytes, that serves once.
struct Challenge {
  ByteArray<32> nonce{};
  /// The nonce as every message carries it: standard base64 with padding, 44 characters.
  [[nodiscard]] std::string nonce_text() const;
  friend bool operator==(const Challenge&, const Challenge&) = default;
};
/// {"nonce":"…","extra-params":""}
[[nodiscard]] std::string write(const Challenge& challenge);
/// As `write`, for clients: `extra-params` may be anything but an object that selects another hash than SHA-384
/// (`unsupported`); a nonce that is not 32 bytes of standard base64 is `malformed`.
[[nodiscard]] Result<Challenge> parse_challenge(std::string_view text);

/// {"token":"…"}: what a successful attestation is answered with.
[[nodiscard]] std::string write_token(std::string_view token);
[[nodiscard]] Result<std::string> parse_token(std::string_view text);

}  // namespace cloister::rcar
