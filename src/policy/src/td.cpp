#include "cloister/policy/td.hpp"

#include <algorithm>

#include "cloister/attestation/verify.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/measure/rtmr.hpp"

namespace cloister::policy {
namespace {

/// What the TD says that it measured at launch; believed once the replay equals RTMR3.
struct LaunchEvents {
  std::optional<Digest32> image_digest;
  Digest32 configuration_digest{};
};

/// An instance's log is its image and its configuration, a validator's TD's its configuration; nothing else.
Result<LaunchEvents> launch_events(const std::vector<evidence::GuestEvent>& log, protocol::Role role) {
  const bool instance = role == protocol::Role::instance;
  const Error unexpected{Errc::event_log_mismatch, "image-digest and configuration-digest expected in RTMR3 (a "
                                                   "validator's TD: the second alone), and no other event"};
  if (log.size() != (instance ? 2U : 1U)) return unexpected;
  for (const auto& event : log) {
    if (event.rtmr != protocol::kLaunchRtmr || event.payload.size() != 32) return unexpected;
  }
  const auto& last = log.back();
  if (last.name != protocol::kConfigurationEvent || (instance && log.front().name != protocol::kImageEvent)) {
    return unexpected;
  }
  LaunchEvents events;
  if (instance) events.image_digest = to_array<32>(log.front().payload);
  events.configuration_digest = to_array<32>(last.payload);
  return events;
}

Result<void> check_replay(const std::vector<evidence::GuestEvent>& log, const Digest48& rtmr3) {
  Digest48 replayed{};
  for (const auto& event : log) {
    replayed = measure::rtmr_extend(replayed, evidence::guest_event_digest(event.name, event.payload));
  }
  if (replayed == rtmr3) return {};
  return Error{Errc::event_log_mismatch,
               "the log replays to " + codec::to_hex(replayed) + ", RTMR3 is " + codec::to_hex(rtmr3)};
}

Error mismatch(std::string_view what, ByteView expected, ByteView found) {
  return Error{Errc::measurement_mismatch,
               std::string{what} + ": expected " + codec::to_hex(expected) + ", found " + codec::to_hex(found)};
}

/// The reference that TD and log meet; else what differs from the one that fits best.
Result<ReferenceValue> find_reference(std::span<const ReferenceValue> references, const evidence::TdBody& body,
                                      const LaunchEvents& events) {
  if (references.empty()) return Error{Errc::measurement_mismatch, "no reference value for this TD"};
  const ReferenceValue* nearest = &references.front();
  int best = -1;
  for (const auto& reference : references) {
    const bool mrtd = reference.mrtd == body.mr_td;
    const bool image = !events.image_digest || reference.image_digest == *events.image_digest;
    const bool configuration = reference.configuration_digest == events.configuration_digest;
    if (mrtd && image && configuration) return reference;
    const int score = int{mrtd} + int{image} + int{configuration};
    if (score > best) {
      best = score;
      nearest = &reference;
    }
  }
  if (nearest->mrtd != body.mr_td) return mismatch("MRTD", nearest->mrtd, body.mr_td);
  if (events.image_digest && nearest->image_digest != *events.image_digest) {
    return mismatch("image digest", nearest->image_digest, *events.image_digest);
  }
  return mismatch("configuration digest", nearest->configuration_digest, events.configuration_digest);
}

/// What the policy is to find in the TD's registers.
Measurements measurements_for(const ReferenceValue& reference, protocol::Role role) {
  auto measurements = measurements_of(reference);
  if (role == protocol::Role::validator) measurements.rtmr[3] = launch_rtmr3(reference.configuration_digest);
  return measurements;
}

}  // namespace

/// The one maker of `AppraisedTd`.
struct TdAppraiser {
  static Result<AppraisedTd> run(const TdSubmission& submission, const evidence::CollateralDocuments& collateral,
                                 const attestation::TrustAnchors& anchors, Policy policy,
                                 std::span<const ReferenceValue> references, UnixTime now,
                                 attestation::VerificationCache* cache) {
    CLOISTER_TRY(quote, evidence::parse_quote(submission.evidence));
    CLOISTER_TRY(preimage, protocol::decode_preimage(submission.preimage));
    CLOISTER_TRY(configuration, protocol::decode_configuration(submission.configuration));
    CLOISTER_TRY(log, evidence::parse_guest_event_log(submission.event_log));

    auto outcome = attestation::verify(quote, collateral, anchors, now, cache);
    if (!outcome.evidence) {
      return outcome.report.error().value_or(Error{Errc::internal, "evidence is refused without a failed check"});
    }
    CLOISTER_TRY(bound, attestation::bind(std::move(*outcome.evidence), protocol::report_data(submission.preimage)));
    const auto* body = bound.claims().td();
    if (body == nullptr) return Error{Errc::evidence_unsupported, "the quote of a TD expected"};
    // Nobody could say what it means: a TD of ours has a measured configuration instead.
    if (preimage.init_data_digest) return Error{Errc::evidence_unsupported, "a preimage without init data expected"};

    CLOISTER_TRY(events, launch_events(log, preimage.role));
    CLOISTER_CHECK(check_replay(log, body->rtmr[protocol::kLaunchRtmr]));
    const auto configuration_digest = protocol::configuration_digest(submission.configuration);
    if (configuration_digest != events.configuration_digest) {
      return mismatch("configuration digest", events.configuration_digest, configuration_digest);
    }
    if (configuration.role != preimage.role || configuration.image_digest != events.image_digest) {
      return Error{Errc::measurement_mismatch, "role or image of the configuration are not those of the TD"};
    }
    CLOISTER_TRY(reference, find_reference(references, *body, events));

    policy.measurements = {measurements_for(reference, preimage.role)};
    auto appraisal = appraise(policy, std::move(bound), now);
    if (!appraisal.appraised) return appraisal.decision.error();
    return AppraisedTd{std::move(*appraisal.appraised), std::move(preimage), std::move(configuration),
                       std::move(reference)};
  }
};

UnixTime AppraisedTd::collateral_expires() const noexcept {
  const auto& window = appraised_.report().collateral;
  return window ? window->expires : UnixTime{};
}

Result<AppraisedTd> appraise_td(const TdSubmission& submission, const evidence::CollateralDocuments& collateral,
                                const attestation::TrustAnchors& anchors, Policy policy,
                                std::span<const ReferenceValue> references, UnixTime now,
                                attestation::VerificationCache* cache) {
  return TdAppraiser::run(submission, collateral, anchors, std::move(policy), references, now, cache);
}

Result<AppraisedTd> appraise_instance(const TdSubmission& submission, ByteView collateral, const TrustFile& trust,
                                      std::string_view challenge, std::string_view version, UnixTime now) {
  CLOISTER_TRY(parsed, evidence::parse_quote_collateral(as_text(collateral)));
  CLOISTER_TRY(documents, evidence::parse_documents(parsed));
  CLOISTER_TRY(anchors, trust.anchors());
  const auto references = trust.values_of(challenge, version);
  CLOISTER_TRY(td, appraise_td(submission, documents, anchors, Policy{}, references, now));
  if (td.preimage().role != protocol::Role::instance) {
    return Error{Errc::binding_mismatch, "the evidence is of a validator's TD, not of an instance"};
  }
  const auto known = [&](const ByteArray<32>& key) {
    return protocol::server_key_id(key) == td.preimage().server_key_id;
  };
  if (!trust.server_keys.empty() && !std::ranges::any_of(trust.server_keys, known)) {
    return Error{Errc::binding_mismatch, "the instance speaks to a server that the trust file does not name"};
  }
  return td;
}

}  // namespace cloister::policy
