#pragma once

#include <string_view>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/storage/blobs.hpp"
#include "cloister/storage/challenges.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::challenge {

inline constexpr std::string_view kVersionRegistered = "version.registered";  // subject: the version

/// What every TD of this server has in common.
struct Platform {
  Digest48 guest_mrtd{};                   // of the guest program (measure/td_image.hpp)
  std::vector<ByteArray<32>> server_keys;  // static X25519 keys: current, then next
  bool shows_evidence = false;             // the server runs in a TEE, and proves it to instances that demand it
};

/// Thread-safe; what it is made from outlives it.
class Registry {
 public:
  Registry(storage::Database& database, storage::BlobStore& blobs, audit::Log& log, Platform platform)
      : database_{database}, blobs_{blobs}, log_{log}, platform_{std::move(platform)} {}

  /// Registers a version, or finds it. Its image must be in the blob store, whole; `not_found` names the blob that is
  /// missing, `malformed` says what is wrong with the image. A demand of the server's evidence must name roots that are
  /// some, and a time that is not to come (`invalid_argument`, or what `policy::anchors_of` refuses); `unsupported` where this
  /// server has no evidence to show, since every instance would end.
  [[nodiscard]] Result<model::Version> add(const TenantId& tenant, const model::ChallengeSpec& spec,
                                           std::string_view who, UnixTime now);
  [[nodiscard]] Result<storage::challenges::StoredVersion> version(const VersionId& version) const;
  [[nodiscard]] Result<std::vector<storage::challenges::StoredVersion>> versions(const ChallengeId& challenge) const;
  [[nodiscard]] Result<std::vector<storage::challenges::Challenge>> list() const;
  [[nodiscard]] Result<std::vector<storage::challenges::StoredVersion>> active() const;

  /// The blobs that a host needs to start this version: manifest, configuration and layers.
  [[nodiscard]] Result<std::vector<Digest32>> blobs_of(const model::Version& version) const;
  /// The configuration of a validator's own TD, and what it measures as.
  [[nodiscard]] Bytes validator_configuration() const;
  [[nodiscard]] model::ReferenceValue validator_reference() const;

 private:
  storage::Database& database_;
  storage::BlobStore& blobs_;
  audit::Log& log_;
  Platform platform_;
};

}  // namespace cloister::challenge
