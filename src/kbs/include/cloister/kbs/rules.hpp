#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/resource_policy.hpp"
#include "cloister/rcar/resource.hpp"

namespace cloister::kbs {

inline constexpr std::string_view kDefaultResourcePolicy = "default";  // holds where no other does
inline constexpr std::string_view kCpuPolicy = "default_cpu";          // of TEEs
inline constexpr std::string_view kDevicePolicy = "default_gpu";       // of devices
/// What the name of a further attestation policy ends with that is about devices; others are about TEEs.
inline constexpr std::string_view kDeviceSuffix = "_gpu";

/// Which policy said something.
struct PolicyRef {
  std::string name;
  Digest32 digest{};  // SHA-256 of its text
};

/// A policy that holds.
template <class Compiled>
struct Held {
  PolicyRef ref;
  std::string scope;  // of a resource policy: what paths begin with, whole segments; empty for all
  Compiled policy;
  std::optional<UnixTime> set;  // by an administrator; nothing: as it is configured, or built in
};
using ResourceRule = Held<ResourcePolicy>;
using AttestationRule = Held<appraisal::Policy>;

/// Policies that are asked beside the one that an attester's status is from.
using Further = std::vector<const AttestationRule*>;
enum class AttesterClass { cpu, device };

/// What the guests of one tenant are judged by. A value that does not change, so that one judgement sees one state of it.
struct Rules {
  std::map<std::string, AttestationRule, std::less<>> attestation;  // by name; kCpuPolicy and kDevicePolicy are among them
  std::map<std::string, ResourceRule, std::less<>> resource;        // by scope; that of "" is among them
  codec::json::Value reference_values;                              // an object, or null for none

  /// Of that name, which is among them.
  [[nodiscard]] const AttestationRule& judging(std::string_view name) const { return attestation.find(name)->second; }
  [[nodiscard]] Further further(AttesterClass of) const;
  /// The one of the longest scope that has the path.
  [[nodiscard]] const ResourceRule& deciding(const rcar::ResourcePath& path) const;
  /// Of that name; null for none.
  [[nodiscard]] const ResourceRule* resource_named(std::string_view name) const;
};

}  // namespace cloister::kbs
