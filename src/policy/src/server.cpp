#include "cloister/policy/server.hpp"

#include <algorithm>
#include <string>

#include "cloister/attestation/verify.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/evidence/lab_marker.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/report_data.hpp"

namespace cloister::policy {
namespace {

Error mismatch(std::string_view what, ByteView expected, ByteView found) {
  return Error{Errc::measurement_mismatch,
               std::string{what} + ": expected " + codec::to_hex(expected) + ", found " + codec::to_hex(found)};
}

/// Whose question the evidence answers, and on which channel.
Result<void> check_demand(const protocol::ServerPreimage& preimage, const ServerDemand& demand) {
  if (!same_bytes(preimage.nonce, demand.nonce)) {
    return Error{Errc::nonce_invalid, "the evidence answers another nonce than the one that was sent"};
  }
  if (preimage.handshake_hash != demand.handshake_hash) {
    return Error{Errc::binding_mismatch, demand.handshake_hash ? "the evidence was not made for this channel"
                                                               : "the evidence was made for a channel"};
  }
  return {};
}

/// The log is the configuration, which RTMR3 has been extended with once, and nothing else.
Result<Digest32> configuration_in(ByteView event_log, const Digest48& rtmr3) {
  CLOISTER_TRY(log, evidence::parse_guest_event_log(event_log));
  const bool as_expected = log.size() == 1 && log.front().rtmr == protocol::kLaunchRtmr &&
                           log.front().name == protocol::kServerConfigurationEvent && log.front().payload.size() == 32;
  if (!as_expected) {
    return Error{Errc::event_log_mismatch, "one event expected, server-configuration in RTMR3 with a digest of 32 bytes"};
  }
  const auto digest = to_array<32>(log.front().payload);
  if (server_rtmr3(digest) == rtmr3) return digest;
  return Error{Errc::event_log_mismatch,
               "the log replays to " + codec::to_hex(server_rtmr3(digest)) + ", RTMR3 is " + codec::to_hex(rtmr3)};
}

/// The reference that the TD meets; else what differs from the one that fits best.
Result<ServerReference> find_reference(std::span<const ServerReference> references, const evidence::TdBody& body,
                                       const Digest32& configuration) {
  if (references.empty()) return Error{Errc::measurement_mismatch, "no reference value for a server"};
  const auto mismatches = [&](const ServerReference& reference) {
    std::vector<Error> out;
    if (reference.mrtd != body.mr_td) out.push_back(mismatch("MRTD", reference.mrtd, body.mr_td));
    for (std::size_t i = 0; i < reference.rtmr.size(); ++i) {
      if (reference.rtmr[i] != body.rtmr[i]) out.push_back(mismatch("RTMR" + std::to_string(i), reference.rtmr[i], body.rtmr[i]));
    }
    if (reference.configuration_digest != configuration) {
      out.push_back(mismatch("configuration digest", reference.configuration_digest, configuration));
    }
    return out;
  };
  std::optional<std::vector<Error>> nearest;
  for (const auto& reference : references) {
    auto found = mismatches(reference);
    if (found.empty()) return reference;
    if (!nearest || found.size() < nearest->size()) nearest = std::move(found);
  }
  return nearest->front();
}

Measurements registers_of(const ServerReference& reference) {
  Measurements out;
  out.mrtd = reference.mrtd;
  std::ranges::copy(reference.rtmr, out.rtmr.begin());
  out.rtmr[protocol::kLaunchRtmr] = server_rtmr3(reference.configuration_digest);
  return out;
}

}  // namespace

/// The one maker of `AppraisedServer`.
struct ServerAppraiser {
  static Result<AppraisedServer> run(const protocol::ServerProof& proof, const ServerDemand& demand,
                                     const attestation::TrustAnchors& anchors, Policy policy,
                                     std::span<const ServerReference> references, UnixTime now) {
    CLOISTER_TRY(quote, evidence::parse_quote(proof.evidence));
    CLOISTER_TRY(preimage, protocol::decode_server_preimage(proof.preimage));
    if (proof.collateral.empty()) {
      return Error{Errc::collateral_missing, "the server has no collateral for its own evidence"};
    }
    CLOISTER_TRY(collateral, evidence::parse_quote_collateral(proof.collateral));
    CLOISTER_TRY(documents, evidence::parse_documents(collateral));
    auto outcome = attestation::verify(quote, documents, anchors, now);
    if (!outcome.evidence) {
      return outcome.report.error().value_or(Error{Errc::internal, "evidence is refused without a failed check"});
    }
    CLOISTER_TRY(bound, attestation::bind(std::move(*outcome.evidence), protocol::report_data(proof.preimage)));
    CLOISTER_CHECK(check_demand(preimage, demand));
    const auto* body = bound.claims().td();
    if (body == nullptr) return Error{Errc::evidence_unsupported, "the quote of a TD expected"};
    CLOISTER_TRY(configuration, configuration_in(proof.event_log, body->rtmr[protocol::kLaunchRtmr]));
    if (configuration != preimage.identity.configuration_digest) {
      return mismatch("configuration digest", configuration, preimage.identity.configuration_digest);
    }
    CLOISTER_TRY(reference, find_reference(references, *body, configuration));
    policy.measurements = {registers_of(reference)};
    auto appraisal = appraise(policy, std::move(bound), now);
    if (!appraisal.appraised) return appraisal.decision.error();
    return AppraisedServer{std::move(*appraisal.appraised), std::move(preimage.identity), reference};
  }
};

Digest48 server_rtmr3(const Digest32& configuration_digest) {
  return measure::rtmr_extend({}, evidence::guest_event_digest(protocol::kServerConfigurationEvent, configuration_digest));
}

Result<AppraisedServer> appraise_server(const protocol::ServerProof& proof, const ServerDemand& demand,
                                        const attestation::TrustAnchors& anchors, Policy policy,
                                        std::span<const ServerReference> references, UnixTime now) {
  return ServerAppraiser::run(proof, demand, anchors, std::move(policy), references, now);
}

Result<AppraisedServer> appraise_server(const protocol::ServerProof& proof, const ServerDemand& demand,
                                        const TrustFile& trust, UnixTime now) {
  CLOISTER_TRY(anchors, trust.anchors());
  if (trust.server_reference_values.empty()) {
    return Error{Errc::measurement_mismatch, "the trust file has no server_reference_values: nothing says what the server "
                                             "must be"};
  }
  CLOISTER_TRY(server, appraise_server(proof, demand, anchors, Policy{}, trust.server_reference_values, now));
  const auto names = [](const auto& keys, const auto& key) {
    return keys.empty() || std::ranges::find(keys, key) != keys.end();
  };
  if (!names(trust.server_keys, server.identity().channel_keys.front())) {
    return Error{Errc::binding_mismatch, "the server uses a channel key that the trust file does not name"};
  }
  if (!names(trust.audit_keys, server.identity().audit_key)) {
    return Error{Errc::audit_key_not_trusted, "the server has an audit key that the trust file does not name"};
  }
  return server;
}

Result<attestation::TrustAnchors> anchors_of(const model::EvidenceDemand& wanted) {
  using attestation::AnchorKind;
  auto out = attestation::TrustAnchors::vendors();
  for (const auto& der : wanted.roots) {
    CLOISTER_TRY(root, crypto::x509::parse_certificate(der));
    const auto kind = evidence::has_lab_marker(*root) ? AnchorKind::lab : AnchorKind::given;
    CLOISTER_TRY(anchor, attestation::TrustAnchor::make(std::move(root), kind));
    out.add(std::move(anchor));
  }
  return out;
}

Result<AppraisedServer> appraise_server(const protocol::ServerProof& proof, const ServerChannel& channel,
                                        const model::EvidenceDemand& wanted, UnixTime now) {
  CLOISTER_TRY(anchors, anchors_of(wanted));
  const ServerDemand demand{channel.nonce, channel.handshake_hash};
  CLOISTER_TRY(server, appraise_server(proof, demand, anchors, Policy{}, wanted.references, std::max(now, wanted.not_before)));
  const auto& keys = server.identity().channel_keys;
  if (std::ranges::find(keys, channel.server_key) == keys.end()) {
    return Error{Errc::binding_mismatch, "the server does not bind the key of this channel"};
  }
  return server;
}

}  // namespace cloister::policy
