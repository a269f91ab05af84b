#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/jwk.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/token/ear.hpp"

/// Verification of attestation tokens, offline: signature, times, issuer, audience, and the form of their kind.
namespace cloister::token {

enum class Kind {
  ear,              // any verifier's EAR, this server's among them: ES256 or ES384
  trustee,          // an EAR of Trustee's profile: ES256 or ES384
  trust_authority,  // Intel Trust Authority's: PS384 or RS256
};
[[nodiscard]] std::string_view to_string(Kind kind) noexcept;  // "ear", "trustee", "trust-authority"

/// What a token is accepted by. What is absent is not compared, except times and keys.
struct Expected {
  std::vector<crypto::jose::Jwk> keys;
  /// Where the certificate chain (`x5c`) must end of a key above that has one, and of a header whose key is none of those
  /// above. Without roots the keys are trusted as they are, and no header's certificates.
  std::vector<crypto::x509::CertificatePtr> roots = {};
  UnixTime at;
  std::optional<std::string> issuer;
  std::optional<std::string> audience;
  std::optional<std::string> nonce;  // `eat_nonce` or, in Trust Authority's, `verifier_nonce.val`: as the token writes it
  Tier worst = Tier::affirming;      // no submodule may have a worse status; none at all is as bad as a warning
  bool allow_lab = false;            // simulated evidence
};

/// One attester. Trust Authority's tokens have one, named after its type; its status is affirming where its TCB is
/// UpToDate, contraindicated where it is Revoked, a warning for any other, none without one; they have no vector.
struct Submodule {
  std::string name;
  Tier status = Tier::none;
  TrustVector vector;
  std::optional<std::string> policy_id;
};

/// A token of which everything held.
class Verified {
 public:
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] crypto::jose::Algorithm algorithm() const noexcept { return algorithm_; }
  [[nodiscard]] const std::string& key_id() const noexcept { return key_id_; }  // of the key that verified it; may be empty
  [[nodiscard]] const std::string& issuer() const noexcept { return issuer_; }  // empty when absent
  [[nodiscard]] UnixTime issued() const noexcept { return issued_; }
  [[nodiscard]] UnixTime expires() const noexcept { return expires_; }
  [[nodiscard]] bool lab() const noexcept { return lab_; }
  [[nodiscard]] const std::vector<Submodule>& submodules() const noexcept { return submodules_; }  // at least one
  [[nodiscard]] const codec::json::Value& claims() const noexcept { return claims_; }

 private:
  friend Result<Verified> verify(std::string_view, const Expected&);
  Verified() = default;
  Kind kind_ = Kind::ear;
  crypto::jose::Algorithm algorithm_ = crypto::jose::Algorithm::es256;
  std::string key_id_;
  std::string issuer_;
  UnixTime issued_{};
  UnixTime expires_{};
  bool lab_ = false;
  std::vector<Submodule> submodules_;
  codec::json::Value claims_;
};

/// Verifies a compact token. A blank after it is allowed. In this order, the first that fails being the error:
/// - its form (`malformed`, `unsupported`, `duplicate_member`, `limit_exceeded`);
/// - its key: the one of the header's `kid`, or the one that its `jwk` shows, or the only one; whatever key a header
///   brings is only compared, so one that is not among `expected.keys` is `token_key_unknown`, unless its `x5c` is a chain
///   that holds at `at` under one of `expected.roots` (RFC 5280; no revocation): `root_untrusted`, `certificate_malformed`,
///   `token_key_unknown` with the reason, and `token_of_lab` below where a certificate has a lab's marker. The same for a
///   given key with an `x5c` of its own, where there are roots; one without is trusted as it is;
/// - `token_algorithm_mismatch` unless the header names the key's algorithm; `signature_invalid`;
/// - `token_kind_unknown` by `eat_profile`; `token_algorithm_mismatch` unless the kind has that algorithm;
/// - `exp` is demanded (`missing_member`), `at < exp` (`token_expired`); `iat` is demanded, `iat <= at` and, where it is
///   there, `nbf <= at` (`token_not_yet_valid`): no leeway; other forms of them are `token_claim_invalid`;
/// - `token_issuer_mismatch`, `token_audience_mismatch`, `token_nonce_mismatch`, where something is expected;
/// - for EAR kinds: `ear.verifier-id`, `submods` and what is in them (`token_claim_invalid`, `missing_member`), a status
///   better than the worst claim of its vector included; `token_of_lab`;
/// - for Trust Authority's: `attester_type` (`missing_member`); `debug_not_accepted` by `dbgstat`, `sgx_is_debuggable`
///   and `tdx_is_debuggable`;
/// - `token_status_not_accepted`.
/// Pure; thread-safe.
[[nodiscard]] Result<Verified> verify(std::string_view token, const Expected& expected);

/// The object of `cloister token verify --json`.
[[nodiscard]] codec::json::Value to_json(const Verified& token);

}  // namespace cloister::token
