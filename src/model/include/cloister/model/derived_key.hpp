#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

/// Keys that follow from the server's root key and from whom they are for: nobody stores one (docs/derived-keys.md).
namespace cloister::model {

/// What a challenge calls a derived key: an id (core/ids.hpp) of at most `kMaxPurpose` characters.
[[nodiscard]] bool valid_purpose(std::string_view text) noexcept;
inline constexpr std::size_t kMaxPurpose = 40;
/// Versions of one key that may be released at the same time.
inline constexpr std::size_t kMaxLiveVersions = 16;

/// What an instance may measure as; what is absent may be anything.
struct AllowedMeasurement {
  std::optional<Digest48> mrtd;
  std::optional<Digest32> image_digest;          // SHA-256 of the OCI image manifest
  std::optional<Digest32> configuration_digest;  // SHA-256 of the measured configuration
  friend bool operator==(const AllowedMeasurement&, const AllowedMeasurement&) = default;
};

/// What a platform's security versions must be at least; what is absent may be anything.
struct TcbFloor {
  std::optional<ByteArray<16>> tdx_components;  // bytes of TEE_TCB_SVN, one by one
  std::optional<ByteArray<16>> sgx_components;  // SGX TCB component SVNs of the PCK certificate, one by one
  std::optional<std::uint16_t> pce_svn;         // of the PCK certificate
  std::optional<UnixTime> tcb_date;             // the oldest tcbDate of the matched levels (platform, module, QE)
  friend bool operator==(const TcbFloor&, const TcbFloor&) = default;
};
/// Whether `floor` demands in everything at least what `other` demands.
[[nodiscard]] bool at_least_as_high(const TcbFloor& floor, const TcbFloor& other) noexcept;

/// Who gets a version of a derived key: instances of the challenge that are allowed and whose platform reaches the
/// floor.
struct ReleaseConditions {
  bool any_version = false;         // every registered version of the challenge is allowed; excludes the lists
  std::vector<VersionId> versions;  // allowed by their name,
  std::vector<AllowedMeasurement> measurements;  // or by what they measure as; each at most 64, in all at least one
  TcbFloor tcb;
  friend bool operator==(const ReleaseConditions&, const ReleaseConditions&) = default;
};
/// Strict: `invalid_argument`, `limit_exceeded`, `unknown_member`, `malformed` with the member.
[[nodiscard]] Result<ReleaseConditions> parse_release_conditions(const codec::json::Value& value);
/// Every list in its order, absent members left out: equal conditions, equal text.
[[nodiscard]] codec::json::Value to_json(const ReleaseConditions& conditions);

struct DerivedKeyVersion {
  std::uint64_t version = 0;  // from 1
  ReleaseConditions conditions;
  UnixTime created{};
  std::optional<UnixTime> revoked;  // since when it is released to nobody
  friend bool operator==(const DerivedKeyVersion&, const DerivedKeyVersion&) = default;
};
[[nodiscard]] Result<DerivedKeyVersion> parse_derived_key_version(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const DerivedKeyVersion& version);

struct DerivedKey {
  ChallengeId challenge;  // whose versions all share the key
  std::string purpose;
  std::vector<DerivedKeyVersion> versions;  // oldest first, at least one
  friend bool operator==(const DerivedKey&, const DerivedKey&) = default;
};
[[nodiscard]] Result<DerivedKey> parse_derived_key(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const DerivedKey& key);

}  // namespace cloister::model
