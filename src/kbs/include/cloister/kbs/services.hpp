#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cloister/appraisal/appraisal.hpp"
#include "cloister/attestation/anchors.hpp"
#include "cloister/audit/log.hpp"
#include "cloister/audit/refusals.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/kbs/meters.hpp"
#include "cloister/kbs/resource_policy.hpp"
#include "cloister/keyring/keyring.hpp"
#include "cloister/rego/recent_inputs.hpp"
#include "cloister/revocation/list.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/sealing.hpp"
#include "cloister/storage/write_queue.hpp"
#include "cloister/verdict/verdict.hpp"

namespace cloister::kbs {

/// What brokers are made from; all of it is thread-safe and outlives them.
struct Services {
  storage::Database& database;
  storage::WriteQueue& writes;  // to that database
  storage::Sealer& sealer;
  audit::Log& log;
  audit::Refusals& refusals;
  const keyring::Keyring& keys;  // that sign tokens
  const attestation::TrustAnchors& anchors;
  verdict::Sources sources;  // of what evidence needs beside it
  const crypto::Secret<32>& session_key;  // that marks sessions of guests as this server's; the same after a restart
  Random& random;
  const revocation::List& revoked;  // of all tenants
  Meters& meters;
  rego::RecentInputs& inputs;
  attestation::VerificationCache* cache = nullptr;
};

struct Options {
  TenantId tenant;        // whose resources these are
  std::string server_id;  // issuer of tokens, and audience of those of this tenant
  std::string build;      // program and version
  /// Evidence that proves nothing, for trying things out; what comes of it is tainted.
  bool allow_sample = false;
  /// Until administrators set others, which are kept in the database.
  appraisal::Policy attestation_policy = appraisal::Policy::builtin();
  appraisal::Policy device_policy = appraisal::Policy::builtin();
  codec::json::Value reference_values{};  // an object, or null for none
  ResourcePolicy resource_policy = ResourcePolicy::builtin();
  std::chrono::seconds session_lifetime{300};
  // Of each tenant; what is deleted counts until it is purged.
  std::uint64_t max_resources = 10'000;
  std::uint64_t max_resource_bytes = std::uint64_t{256} << 20;
};

/// Leaf kinds of this module.
inline constexpr std::string_view kAttested = "guest.attested";      // subject: the token's id
inline constexpr std::string_view kReleased = "resource.released";   // subject: the path, as the rest
inline constexpr std::string_view kRefused = "resource.refused";     // to a guest that has a token
inline constexpr std::string_view kStored = "resource.stored";
inline constexpr std::string_view kDeclared = "resource.declared";    // that its values are made here
inline constexpr std::string_view kGenerated = "resource.generated";  // for the guest with "token", or by an administrator
inline constexpr std::string_view kCurrentSet = "resource.current_set";
inline constexpr std::string_view kLabelled = "resource.labelled";
inline constexpr std::string_view kRetentionSet = "resource.retention_set";
inline constexpr std::string_view kDeleted = "resource.deleted";      // until it is undeleted
inline constexpr std::string_view kUndeleted = "resource.undeleted";
inline constexpr std::string_view kPurged = "resource.purged";
inline constexpr std::string_view kRemoved = "resource.removed";      // deleted and purged at once
inline constexpr std::string_view kPolicyChanged = "policy.changed";  // subject: "resource/NAME", "attestation/NAME"
inline constexpr std::string_view kPolicyRemoved = "policy.removed";
inline constexpr std::string_view kReferenceChanged = "reference_value.changed";  // subject: its name
inline constexpr std::string_view kReferenceRemoved = "reference_value.removed";

}  // namespace cloister::kbs
