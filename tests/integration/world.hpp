#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "cloister/audit/log.hpp"
#include "cloister/challenge/registry.hpp"
#include "cloister/keybroker/broker.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/policy/td.hpp"
#include "cloister/protocol/job.hpp"
#include "cloister/receipt/receipt.hpp"
#include "cloister/scheduler/job_service.hpp"
#include "cloister/session/attested.hpp"
#include "cloister/storage/blobs.hpp"
#include "support/support.hpp"

namespace cloister::test {

/// The orchestrator's services on a real database, a lab platform, and one registered version: everything of the main
/// job but processes and sockets. What a hostile party would change is a member or an argument.
class World {
 public:
  explicit World(scheduler::JobService::Options jobs = tried_twice());
  [[nodiscard]] static scheduler::JobService::Options tried_twice();

  /// A TD of the guest program on the lab platform.
  struct Td {
    lab::tdx::Td machine;
    crypto::X25519Key payload_key;
    crypto::Ed25519Key result_key;
    Bytes event_log;
    Bytes configuration;
  };
  /// Launches, and extends what the guest would: image (a validator's TD: none) and configuration.
  [[nodiscard]] Td launch(ByteView guest_program, const std::optional<Digest32>& image, ByteView configuration);
  [[nodiscard]] Td launch() { return launch(guest_program, version.spec.image_digest, version.configuration); }
  /// A validator's own TD.
  [[nodiscard]] Td launch_validator(ByteView guest_program);
  [[nodiscard]] Td launch_validator() { return launch_validator(guest_program); }

  /// An instance that the fleet asked for, its connection to the server, and what its TD answers to the challenge.
  struct Attestation {
    session::Connection connection;
    Bytes evidence;
    Bytes preimage;
  };
  [[nodiscard]] InstanceId new_instance();
  [[nodiscard]] Attestation attest(const Td& td, const InstanceId& instance,
                                   const std::function<void(protocol::Preimage&)>& change = {});
  /// What a validator's TD of the same guest program shows; its session is the caller's to name. The reference value
  /// that it meets is given the version's name.
  struct ValidatorTd {
    model::InstanceEvidence shown;
    policy::ReferenceValue reference;
  };
  [[nodiscard]] ValidatorTd validator_td();
  /// What the server does with the answer.
  [[nodiscard]] Result<session::AttestedSession> appraise(const Td& td, const Attestation& answer);
  /// A ready instance and its session.
  struct Ready {
    Td td;
    session::AttestedSession session;
  };
  [[nodiscard]] Ready ready();

  /// A client's job for these instances; the payload is "in".
  struct ClientJob {
    protocol::ClientJobKeys keys;
    model::JobRequest request;
  };
  struct Recipient {
    InstanceId instance;
    crypto::X25519Public payload_key;
  };
  [[nodiscard]] ClientJob seal_to(const std::vector<Recipient>& recipients, const std::string& key = "job-1");
  [[nodiscard]] ClientJob seal(const std::vector<const Ready*>& recipients, const std::string& key = "job-1");
  /// What an honest instance answers to an assigned job: "out".
  [[nodiscard]] protocol::SubmitResult execute(const Ready& instance, const protocol::AssignJob& job,
                                               const std::function<void(protocol::Envelope&)>& change = {});
  [[nodiscard]] protocol::SubmitResult execute(const Td& td, const InstanceId& instance, const SessionId& session,
                                               const protocol::AssignJob& job,
                                               const std::function<void(protocol::Envelope&)>& change = {});
  /// Submits, leases, executes and accepts one job.
  [[nodiscard]] ClientJob complete(const Ready& instance);
  [[nodiscard]] receipt::Receipt receipt_of(const ClientJob& job);
  /// What the client trusts.
  [[nodiscard]] policy::TrustFile trust() const;

  TempDir dir;
  FakeClock clock{*from_civil(2026, 6, 1, 12, 0, 0)};
  SeededRandom random{11};
  TenantId tenant = *TenantId::parse("default");
  Bytes guest_program = Bytes(20'000, 0x47);
  lab::Platform platform;
  evidence::QuoteCollateral collateral;
  std::unique_ptr<kms::SoftwareKms> kms;
  std::unique_ptr<storage::Database> database;
  std::unique_ptr<storage::Sealer> sealer;
  std::unique_ptr<storage::BlobStore> blobs;
  std::unique_ptr<audit::Log> log;
  crypto::X25519Key server_key;
  std::unique_ptr<challenge::Registry> registry;
  std::unique_ptr<session::AttestedSessions> sessions;
  std::unique_ptr<keybroker::Broker> broker;
  std::unique_ptr<scheduler::JobService> jobs;
  attestation::TrustAnchors anchors;
  crypto::Secret<32> client_secret;
  ValidatorId validator;
  model::Version version;
};

}  // namespace cloister::test
