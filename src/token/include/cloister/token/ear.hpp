#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cloister/appraisal/tier.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/policy/policy.hpp"

/// EAT Attestation Results (draft-ietf-rats-ear) with the trust vectors of AR4SI (draft-ietf-rats-ar4si).
namespace cloister::token {

inline constexpr std::string_view kEarProfile = "tag:github.com,2023:veraison/ear";

using appraisal::Tier;
using appraisal::tier_from_string;
using appraisal::tier_of;

/// AR4SI section 2.3.4; 0 says nothing, and is not written.
struct TrustVector {
  std::int8_t instance_identity = 0;
  std::int8_t configuration = 0;
  std::int8_t executables = 0;
  std::int8_t file_system = 0;
  std::int8_t hardware = 0;
  std::int8_t runtime_opaque = 0;
  std::int8_t storage_opaque = 0;
  std::int8_t sourced_data = 0;

  friend bool operator==(const TrustVector&, const TrustVector&) = default;
  /// The worst tier of any claim.
  [[nodiscard]] Tier worst() const noexcept;
};

/// What evidence that was accepted vouches for. `policy` is the one that it was accepted by: only with measurements in
/// it is it known what runs.
///
/// | claim | value |
/// |---|---|
/// | instance-identity | 2: the certificate of the chip holds, and is not revoked |
/// | hardware | 2 for UpToDate; 32 for every other status that a policy accepted |
/// | configuration | 2 with measurements, else 3; 96 under debug; 32 with reserved attributes |
/// | executables | 3 with measurements; else 33: nobody said what may run |
/// | runtime-opaque | 2; 96 under debug |
[[nodiscard]] TrustVector trust_vector(const policy::Appraised& appraised, const policy::Policy& policy);

/// Who appraises, and signs.
struct Issuer {
  std::string name;     // "iss": the server's id
  std::string build;    // ear.verifier-id: program and version
  std::string key_id;   // of the key below
  const crypto::EcPrivateKey& key;  // on P-256; outlives this
};

/// What goes into a token besides.
struct TokenTerms {
  UnixTime now;                      // "iat" and "nbf"
  std::chrono::seconds lifetime;     // to "exp"; never beyond the collateral's end
  std::optional<std::string> audience;
  std::optional<std::string> nonce;  // "eat_nonce": what the caller asked to be bound, hex
};

/// A signed EAR, ES256. `policy` must be the one of the appraisal (`invalid_argument`).
/// `cloister.lab` says whether a lab's root vouched: then everything in it is simulated.
[[nodiscard]] Result<std::string> issue_ear(const policy::Appraised& appraised, const policy::Policy& policy,
                                            const Issuer& issuer, const TokenTerms& terms);

}  // namespace cloister::token
