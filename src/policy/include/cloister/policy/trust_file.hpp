#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/policy/policy.hpp"

/// What a person accepts: a JSON file that stays with them, {"version":1, "lab_roots":[PEM…], "roots":[PEM…],
/// "audit_keys":[hex…], "server_keys":[hex…], "reference_values":[{…}…], "server_reference_values":[{"mrtd":hex,
/// "rtmr0":hex, "rtmr1":hex, "rtmr2":hex, "configuration_digest":"sha256:…"}…]}. All members but the version may be absent.
namespace cloister::policy {

inline constexpr std::size_t kMaxTrustFileSize = 1U << 20;

struct TrustFile {
  std::vector<crypto::x509::CertificatePtr> lab_roots;
  std::vector<crypto::x509::CertificatePtr> roots;  // further TEE roots, beside the vendors'
  std::vector<ByteArray<32>> audit_keys;            // Ed25519 public keys of the server's audit log
  std::vector<ByteArray<32>> server_keys;           // X25519 public keys of the server's channel
  std::vector<ReferenceValue> reference_values;
  std::vector<ServerReference> server_reference_values{};  // of the server's own TEE

  /// `base` and the roots of this file. Fails when a root does not suit its list (`root_untrusted`,
  /// `lab_root_not_trusted`).
  [[nodiscard]] Result<attestation::TrustAnchors> anchors(
      attestation::TrustAnchors base = attestation::TrustAnchors::vendors()) const;
  /// The reference values of one version of one challenge (names as the file has them).
  [[nodiscard]] std::vector<ReferenceValue> values_of(std::string_view challenge, std::string_view version) const;
};

/// Strict: unknown members, other versions, doubled members and roots that do not suit their list are refused
/// (`trust_file_invalid` with the member).
[[nodiscard]] Result<TrustFile> parse_trust_file(std::string_view json);
/// Indented, for people; parse_trust_file(write_trust_file(x)) == x.
[[nodiscard]] std::string write_trust_file(const TrustFile& trust);

}  // namespace cloister::policy
