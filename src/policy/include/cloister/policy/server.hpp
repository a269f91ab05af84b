#pragma once

#include <optional>
#include <span>
#include <utility>

#include "cloister/attestation/anchors.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/model/evidence_demand.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/policy/trust_file.hpp"
#include "cloister/protocol/server_proof.hpp"

/// The whole appraisal of a server's own evidence, as clients and guests make it: from what it shows to a decision
/// (docs/protocol/server.md).
namespace cloister::policy {

/// What the evidence must be bound to: whose question it answers, and on which channel.
struct ServerDemand {
  ByteView nonce;
  std::optional<Digest32> handshake_hash;  // of the channel that it came over; none: it came over HTTP
};

/// A server whose evidence was accepted, with what it bound. Made by `appraise_server` only.
class AppraisedServer {
 public:
  [[nodiscard]] const Appraised& appraised() const noexcept { return appraised_; }
  [[nodiscard]] const protocol::ServerIdentity& identity() const noexcept { return identity_; }
  [[nodiscard]] const ServerReference& reference() const noexcept { return reference_; }

 private:
  friend struct ServerAppraiser;
  AppraisedServer(Appraised appraised, protocol::ServerIdentity identity, const ServerReference& reference)
      : appraised_{std::move(appraised)}, identity_{std::move(identity)}, reference_{reference} {}
  Appraised appraised_;
  protocol::ServerIdentity identity_;
  ServerReference reference_;
};

/// Verifies the evidence (the quote of a TD) at `now` with the collateral that it brings, its binding to the preimage and
/// of that to the demand, the event log against RTMR3 and against the preimage, and the measurements against
/// `references`, one of which must be met. `policy.measurements` is not used: the references take its place.
///
/// The first thing that fails is the error: the check's own code for evidence that is not authentic,
/// `collateral_missing`, `report_data_mismatch`, `nonce_invalid` (another nonce than the demand's), `binding_mismatch` (another
/// channel, or evidence for HTTP on a channel, or the other way round), `event_log_mismatch`, `measurement_mismatch` with
/// what was expected and found, or the policy's reason. Thread-safe.
[[nodiscard]] Result<AppraisedServer> appraise_server(const protocol::ServerProof& proof, const ServerDemand& demand,
                                                      const attestation::TrustAnchors& anchors, Policy policy,
                                                      std::span<const ServerReference> references, UnixTime now);

/// The same for whoever has a trust file, by the default policy. The channel key that the server uses now, and its audit
/// key, must be keys of the file where it lists any (`binding_mismatch`, `audit_key_not_trusted`).
[[nodiscard]] Result<AppraisedServer> appraise_server(const protocol::ServerProof& proof, const ServerDemand& demand,
                                                      const TrustFile& trust, UnixTime now);

/// The channel over which a guest demanded evidence.
struct ServerChannel {
  ByteView nonce;
  Digest32 handshake_hash{};
  ByteArray<32> server_key{};  // the static key that the guest shook hands with
};

/// The vendors' roots and the demand's; those that carry the lab marker are a lab's. `certificate_malformed`, or what
/// `TrustAnchor::make` refuses.
[[nodiscard]] Result<attestation::TrustAnchors> anchors_of(const model::EvidenceDemand& wanted);

/// The same for a guest, whose measured configuration says what it wants, by the default policy. `now` is the guest's, which
/// its host can set back: it counts as no earlier than the demand's `not_before`, so that collateral which had ended by then is
/// refused, and collateral of before may still be accepted. The server must bind the key that the guest shook hands with
/// (`binding_mismatch`).
[[nodiscard]] Result<AppraisedServer> appraise_server(const protocol::ServerProof& proof, const ServerChannel& channel,
                                                      const model::EvidenceDemand& wanted, UnixTime now);

}  // namespace cloister::policy
