#include "cloister/challenge/registry.hpp"

#include "cloister/builder/builder.hpp"
#include "cloister/oci/image.hpp"
#include "cloister/policy/server.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/times.hpp"

namespace cloister::challenge {
namespace {

/// Blobs of the store for `oci`, which checks their digests itself.
oci::BlobSource source_of(const storage::BlobStore& blobs) {
  return [&blobs](const Digest32& digest, std::uint64_t max_bytes) -> Result<Bytes> {
    CLOISTER_TRY(size, blobs.size(digest));
    if (!size) return Error{Errc::not_found, "blob " + model::digest_text(digest) + " was not uploaded"};
    if (*size > max_bytes) return Error{Errc::limit_exceeded, "blob " + model::digest_text(digest) + " is too large"};
    return blobs.read(digest, 0, static_cast<std::size_t>(*size));
  };
}

/// Refuses a demand that no server could meet, or this one cannot.
Result<void> check_demand(const model::ChallengeSpec& spec, bool shows_evidence, UnixTime now) {
  if (!spec.server_evidence) return {};
  if (!shows_evidence) {
    return Error{Errc::unsupported, "server_evidence: this server has no evidence of its own, so no instance would serve; run it in a TD "
                                    "with [tee] in its configuration, or register the version without the demand"};
  }
  if (auto anchors = policy::anchors_of(*spec.server_evidence); !anchors) return anchors.error().in("server_evidence: roots");
  if (spec.server_evidence->not_before <= now + protocol::kClockTolerance) return {};
  return Error{Errc::invalid_argument, "server_evidence: not_before lies in the future"};
}

}  // namespace

Result<model::Version> Registry::add(const TenantId& tenant, const model::ChallengeSpec& spec, std::string_view who,
                                     UnixTime now) {
  CLOISTER_CHECK(check_demand(spec, platform_.shows_evidence, now));
  const auto source = source_of(blobs_);
  CLOISTER_TRY(image, oci::load(spec.image_digest, source));
  CLOISTER_CHECK(oci::verify_layers(image, source));

  auto planned = builder::plan_version(spec, platform_.guest_mrtd, platform_.server_keys);
  model::Version version;
  version.id = std::move(planned.id);
  version.spec = spec;
  version.configuration = std::move(planned.configuration);
  version.reference = planned.reference;
  version.registered = now;

  CLOISTER_TRY(transaction, database_.write());
  if (auto present = storage::challenges::version(transaction, version.id)) {
    if (present->tenant != tenant || present->version.configuration != version.configuration) {
      return Error{Errc::conflict, "this version is registered by another tenant, or for other server keys"};
    }
    CLOISTER_CHECK(transaction.commit());
    return std::move(present->version);
  }
  CLOISTER_TRY(added, storage::challenges::add(transaction, tenant, version));
  static_cast<void>(added);
  merkle::AuditLeaf leaf;
  leaf.time = now;
  leaf.kind = kVersionRegistered;
  leaf.subject = version.id.str();
  leaf.details = {{"tenant", tenant.str()},
                  {"challenge", spec.challenge.str()},
                  {"image", to_bytes(ByteView{spec.image_digest})},
                  {"by", std::string{who}}};
  CLOISTER_CHECK(log_.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return version;
}

Result<storage::challenges::StoredVersion> Registry::version(const VersionId& version) const {
  CLOISTER_TRY(snapshot, database_.read());
  return storage::challenges::version(snapshot, version);
}

Result<std::vector<storage::challenges::StoredVersion>> Registry::versions(const ChallengeId& challenge) const {
  CLOISTER_TRY(snapshot, database_.read());
  return storage::challenges::versions(snapshot, challenge);
}

Result<std::vector<storage::challenges::Challenge>> Registry::list() const {
  CLOISTER_TRY(snapshot, database_.read());
  return storage::challenges::list(snapshot);
}

Result<std::vector<storage::challenges::StoredVersion>> Registry::active() const {
  CLOISTER_TRY(snapshot, database_.read());
  return storage::challenges::active_versions(snapshot);
}

Result<std::vector<Digest32>> Registry::blobs_of(const model::Version& version) const {
  CLOISTER_TRY(image, oci::load(version.spec.image_digest, source_of(blobs_)));
  std::vector<Digest32> digests = {image.digest, image.manifest.config.digest};
  for (const auto& layer : image.manifest.layers) digests.push_back(layer.digest);
  return digests;
}

Bytes Registry::validator_configuration() const {
  protocol::Configuration configuration;
  configuration.role = protocol::Role::validator;
  configuration.server_keys = platform_.server_keys;
  return protocol::encode(configuration);
}

model::ReferenceValue Registry::validator_reference() const {
  return {platform_.guest_mrtd, {}, protocol::configuration_digest(validator_configuration())};
}

}  // namespace cloister::challenge
