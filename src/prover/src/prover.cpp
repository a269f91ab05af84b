#include "cloister/prover/prover.hpp"

#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/evidence/td_report.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/report_data.hpp"

namespace cloister::prover {
namespace {

using protocol::kLaunchRtmr;

evidence::GuestEvent event_of(const Digest32& configuration) {
  evidence::GuestEvent event;
  event.rtmr = kLaunchRtmr;
  event.name = protocol::kServerConfigurationEvent;
  event.payload = to_bytes(ByteView{configuration});
  return event;
}

Digest48 digest_of(const evidence::GuestEvent& event) { return evidence::guest_event_digest(event.name, event.payload); }

Error other_measurement(const Digest48& expected, const Digest48& found) {
  return Error{Errc::conflict, "RTMR3 is " + codec::to_hex(found) + ", not " + codec::to_hex(expected) +
                                   ": this TD has measured another configuration, or another program has extended it; launch "
                                   "it anew"};
}

}  // namespace

Prover::Prover(Machine machine, protocol::ServerIdentity identity)
    : machine_{std::move(machine)},
      identity_{std::move(identity)},
      event_log_{evidence::encode_guest_event_log({event_of(identity_.configuration_digest)})},
      rtmr3_{measure::rtmr_extend({}, digest_of(event_of(identity_.configuration_digest)))} {}

Result<std::unique_ptr<Prover>> Prover::open(Machine machine, protocol::ServerIdentity identity) {
  std::unique_ptr<Prover> out{new Prover{std::move(machine), std::move(identity)}};
  CLOISTER_CHECK(out->ensure_open());
  return out;
}

Result<void> Prover::ensure_open() {
  if (device_) return {};
  CLOISTER_TRY(device, machine_.open());
  CLOISTER_CHECK(measure(*device));
  device_ = std::move(device);
  return {};
}

Result<void> Prover::measure(device::TeeDevice& device) const {
  CLOISTER_TRY(bytes, device.report({}));
  CLOISTER_TRY(report, evidence::parse_td_report(bytes));
  const auto& found = report.info.rtmr[kLaunchRtmr];
  if (found == rtmr3_) return {};  // this server was started before in the life of this TD
  if (!all_zero(found)) return other_measurement(rtmr3_, found);
  return device.extend_rtmr(kLaunchRtmr, digest_of(event_of(identity_.configuration_digest)));
}

Result<device::Quote> Prover::quote(const Digest64& report_data) {
  const std::lock_guard lock{mutex_};
  CLOISTER_CHECK(ensure_open());
  auto quote = device_->quote(report_data);
  if (!quote) device_.reset();
  return quote;
}

Result<protocol::ServerProof> Prover::prove(ByteView nonce, const std::optional<Digest32>& handshake_hash,
                                            const std::optional<Digest32>& tls_key) {
  if (nonce.size() < protocol::kMinServerNonce || nonce.size() > protocol::kMaxServerNonce) {
    return Error{Errc::invalid_argument, "a nonce of 16 to 64 bytes expected"};
  }
  protocol::ServerPreimage preimage{to_bytes(nonce), handshake_hash, identity_};
  preimage.identity.tls_key = tls_key;
  protocol::ServerProof out;
  out.preimage = protocol::encode(preimage);
  const auto report_data = protocol::report_data(out.preimage);
  CLOISTER_TRY(made, quote(report_data));
  CLOISTER_TRY(parsed, evidence::parse_quote(made.evidence));
  const auto* body = parsed.td();
  if (body == nullptr) return Error{Errc::evidence_unsupported, "the quote of a TD expected"};
  if (body->report_data != report_data) return Error{Errc::tee_failure, "the quote is over other bytes than ours"};
  if (body->rtmr[kLaunchRtmr] != rtmr3_) return other_measurement(rtmr3_, body->rtmr[kLaunchRtmr]);
  out.evidence = std::move(made.evidence);
  out.event_log = event_log_;
  if (machine_.collateral) {
    if (auto collateral = machine_.collateral(parsed)) out.collateral = *std::move(collateral);
  }
  return out;
}

}  // namespace cloister::prover
