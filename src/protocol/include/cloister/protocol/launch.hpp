#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/model/evidence_demand.hpp"

/// What a TD is started with and what of it is measured (docs/protocol/launch.md).
namespace cloister::protocol {

enum class Role { instance, validator };
[[nodiscard]] std::string_view to_string(Role role) noexcept;

/// The measured configuration of a TD: the same bytes for every instance of a version.
struct Configuration {
  Role role = Role::instance;
  std::optional<VersionId> version;      // instance only
  std::optional<Digest32> image_digest;  // instance only
  std::vector<ByteArray<32>> server_keys;  // static X25519 keys that the TD accepts: current and next; 1 to 4
  std::optional<model::EvidenceDemand> demand{};  // what an instance demands of the server; with it the encoding is version 2
  friend bool operator==(const Configuration&, const Configuration&) = default;
};
[[nodiscard]] Bytes encode(const Configuration& configuration);
/// Refuses an instance without version or image, a validator with them or with a demand, and a version 2 without one.
[[nodiscard]] Result<Configuration> decode_configuration(ByteView bytes);
/// SHA-256 of the encoded configuration, as RTMR3 and reference values have it.
[[nodiscard]] Digest32 configuration_digest(ByteView encoded);

/// Names of the events that the guest extends RTMR3 with before it runs anything of the image. The payload of each
/// is the 32-byte digest; an instance extends both in this order, a validator's TD the second alone.
inline constexpr std::string_view kImageEvent = "image-digest";
inline constexpr std::string_view kConfigurationEvent = "configuration-digest";
inline constexpr std::uint8_t kLaunchRtmr = 3;

/// A version is named after its specification, so that whoever has the specification knows the name.
[[nodiscard]] VersionId version_id_of(const model::ChallengeSpec& spec);

}  // namespace cloister::protocol
