#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/http/client.hpp"
#include "cloister/model/challenge.hpp"
#include "cloister/model/derived_key.hpp"
#include "cloister/model/fleet.hpp"
#include "cloister/model/job.hpp"
#include "cloister/protocol/server_proof.hpp"
#include "cloister/rcar/resource.hpp"
#include "cloister/receipt/receipt.hpp"

namespace cloister::client {

/// What is to be revoked of a key broker's guests (docs/keybroker.md).
struct Revocation {
  std::string kind;
  std::string value;
  std::string reason;
  std::optional<std::chrono::seconds> lifetime;
  bool everywhere = false;
};

/// The orchestrator's API as calls. Errors are the server's problems (their code and detail), or those of the
/// connection. Thread-safe.
class Orchestrator {
 public:
  /// `bearer`: the token, sent over loopback or TLS only.
  [[nodiscard]] static Result<Orchestrator> connect(std::string base_url, std::optional<std::string> bearer,
                                                    http::ClientTls tls = {});

  /// What the server shows of itself over this nonce (16 to 64 bytes), and how it came. `not_found` where it does not run in
  /// a TEE. Nothing of it is verified (client/server_check.hpp).
  struct ShownServer {
    protocol::ServerProof proof;
    std::optional<Digest32> peer_key;  // of the TLS connection that it came over (http/client.hpp); always there over TLS
  };
  [[nodiscard]] Result<ShownServer> show_server(ByteView nonce);
  /// From now on nothing is sent to a peer with another TLS key: `certificate_refused`.
  void hold_to(const Digest32& peer_key) { client_->hold_to(peer_key); }

  // operators
  [[nodiscard]] Result<void> put_blob(const Digest32& digest, ByteView bytes);
  /// `measurement_mismatch` where what the server answers does not follow from the specification: its name, its measured
  /// configuration (image, and what it demands of the server), its reference value. MRTD and server keys are for whoever has
  /// the guest program and those keys to check.
  [[nodiscard]] Result<model::Version> register_version(const model::ChallengeSpec& spec);
  [[nodiscard]] Result<std::uint64_t> put_secret(std::string_view path, ByteView value);
  [[nodiscard]] Result<void> remove_secret(std::string_view path);
  /// The version with that number, made now or there already under the same conditions; `conflict`, as the server says.
  [[nodiscard]] Result<model::DerivedKeyVersion> put_derived_key(const ChallengeId& challenge, std::string_view purpose,
                                                                 std::uint64_t version,
                                                                 const model::ReleaseConditions& conditions);
  [[nodiscard]] Result<model::DerivedKey> derived_key(const ChallengeId& challenge, std::string_view purpose);
  [[nodiscard]] Result<void> revoke_derived_key(const ChallengeId& challenge, std::string_view purpose, std::uint64_t version);
  // Resources of the key broker; each gives the API's answer. `labels`: "name=value,name=value".
  [[nodiscard]] Result<codec::json::Value> put_resource(const rcar::ResourcePath& path, ByteView value,
                                                        const std::optional<std::string>& labels, bool existing);
  [[nodiscard]] Result<codec::json::Value> set_on_resource(const rcar::ResourcePath& path, std::string_view what, codec::json::Value body);
  /// "rotate", "undelete", "purge".
  [[nodiscard]] Result<codec::json::Value> act_on_resource(const rcar::ResourcePath& path, std::string_view act,
                                                           std::optional<std::uint64_t> version = std::nullopt);
  [[nodiscard]] Result<void> delete_resource(const rcar::ResourcePath& path, std::optional<std::uint64_t> version = std::nullopt);
  /// "rotate", "reseal": the key that a tenant's stored values are sealed under.
  [[nodiscard]] Result<codec::json::Value> act_on_data_key(std::string_view act, const std::optional<TenantId>& tenant);
  [[nodiscard]] Result<model::Validator> enrol(const ByteArray<32>& hotkey);
  /// Nothing more is started there, and elsewhere what runs there.
  [[nodiscard]] Result<model::Validator> drain(const ValidatorId& validator);
  /// {"id":…,"token":…,"expires":…}; the token is given this once. Of the caller's own tenant where none is given.
  [[nodiscard]] Result<codec::json::Value> issue_token(std::string_view name, std::string_view role,
                                                       std::chrono::seconds lifetime,
                                                       const std::optional<std::string>& tenant = std::nullopt);
  [[nodiscard]] Result<void> revoke_token(std::string_view id);
  /// {"id":…,…}.
  [[nodiscard]] Result<codec::json::Value> revoke(const Revocation& what);
  [[nodiscard]] Result<void> lift_revocation(std::string_view id);
  /// {"key_id":…}: the key that signs attestation results from now on.
  [[nodiscard]] Result<codec::json::Value> rotate_result_keys();
  /// What a change is made to: the ETag of what was seen, "*" for whatever there is; nothing: only of what nobody has set.
  using IfMatch = std::optional<std::string>;
  /// PUT and DELETE of what the API has under that path, e.g. "policies/resource/keys"; `conflict` where it is something else.
  [[nodiscard]] Result<codec::json::Value> put(std::string_view path, codec::json::Value body, const IfMatch& if_match);
  [[nodiscard]] Result<void> remove(std::string_view path, const IfMatch& if_match);
  /// A question of the key broker's policies: `how` is "explain" or "try".
  [[nodiscard]] Result<codec::json::Value> ask_policies(std::string_view how, codec::json::Value question);
  /// What the API answers under that path, e.g. get("jobs/job-x").
  [[nodiscard]] Result<codec::json::Value> get(std::string_view path);
  /// A whole list, whatever pages the API gives it in, e.g. list("validators"): {"validators":[…]}. `limit_exceeded`
  /// beyond a million entries.
  [[nodiscard]] Result<codec::json::Value> list(std::string_view what);

  // clients
  [[nodiscard]] Result<model::Version> version(const VersionId& id);
  [[nodiscard]] Result<std::vector<model::Version>> versions(const ChallengeId& challenge);
  [[nodiscard]] Result<std::vector<model::Instance>> ready_instances(const VersionId& version);
  [[nodiscard]] Result<model::Instance> instance(const InstanceId& id);

  struct JobView {
    model::Job job;
    std::vector<InstanceId> missing_recipients;  // ready instances that the job is not sealed to yet
  };
  [[nodiscard]] Result<JobView> submit(const model::JobRequest& request);
  /// Waits up to `wait` (at most a minute) for a change that matters.
  [[nodiscard]] Result<JobView> job(const JobId& id, std::chrono::seconds wait);
  [[nodiscard]] Result<void> add_recipients(const JobId& id, const std::vector<model::Recipient>& recipients);
  [[nodiscard]] Result<model::Job> cancel(const JobId& id);
  [[nodiscard]] Result<model::JobResult> result(const JobId& id);
  [[nodiscard]] Result<receipt::Receipt> receipt(const JobId& id);

 private:
  explicit Orchestrator(std::unique_ptr<http::BlockingClient> client) : client_{std::move(client)} {}
  [[nodiscard]] Result<codec::json::Value> call(http::Method method, std::string target, codec::json::Value body = {},
                                                std::chrono::seconds patience = std::chrono::seconds{30},
                                                const IfMatch& if_match = {});
  std::unique_ptr<http::BlockingClient> client_;
};

}  // namespace cloister::client
