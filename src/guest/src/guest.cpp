#include "cloister/guest/guest.hpp"

#include <poll.h>

#include <array>

#include "challenge_process.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hpke.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/oci/image.hpp"
#include "cloister/oci/unpack.hpp"
#include "cloister/policy/server.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/protocol/job.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/report_data.hpp"
#include "server_link.hpp"
#include "worker.hpp"

namespace cloister::guest {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr process::FrameLimits kStreamLimits{.bytes = 0, .descriptors = 1};
constexpr seconds kStepTimeout{60};      // for each step of the start
constexpr milliseconds kHeartbeat{2000};  // while attempts run
constexpr std::size_t kDerivedKeySize = 32;

/// The TD's keys, which its evidence binds. They never leave it.
struct Keys {
  crypto::X25519Key payload;
  crypto::Ed25519Key result;
};

class Guest {
 public:
  Guest(device::Boot boot, Surroundings surroundings)
      : boot_{std::move(boot)},
        s_{std::move(surroundings)},
        streams_{std::move(s_.streams), kStreamLimits},
        keys_{crypto::X25519Key::generate(s_.random), crypto::Ed25519Key::generate(s_.random)},
        shown_keys_{{std::string{protocol::kPayloadUse}, "x25519", to_bytes(ByteView{keys_.payload.public_key()})},
                    {std::string{protocol::kResultUse}, "ed25519", to_bytes(ByteView{keys_.result.public_key()})}} {}

  /// One stream after the other, until something happened that another stream would not mend.
  Error run() {
    auto prepared = prepare();
    if (!prepared) return std::move(prepared).error();
    for (;;) {
      const auto served = serve_stream();
      const auto& why = served.error();
      if (over_) return why;
      s_.logger.info("disconnected", {{"code", to_string(why.code())}, {"detail", why.detail()}});
      link_.reset();
    }
  }

 private:
  [[nodiscard]] Deadline step() const { return Deadline::after(s_.clock, kStepTimeout); }
  /// An error that ends this TD.
  Error fatal(Error why) {
    over_ = true;
    return why;
  }
  Error unexpected(std::string_view what) {
    return fatal(Error{Errc::channel_message_invalid, std::string{what} + " was expected"});
  }

  /// Measures what this TD is.
  Result<void> prepare() {
    CLOISTER_TRY(configuration, protocol::decode_configuration(boot_.configuration));
    configuration_ = std::move(configuration);
    if (configuration_.role == protocol::Role::instance) {
      CLOISTER_CHECK(verify_image());
      CLOISTER_CHECK(measure(protocol::kImageEvent, *configuration_.image_digest));
    }
    return measure(protocol::kConfigurationEvent, protocol::configuration_digest(boot_.configuration));
  }

  /// Shakes hands and attests on the next stream, and serves until it ends. Never succeeds.
  Result<void> serve_stream() {
    CLOISTER_TRY(stream, next_stream());
    CLOISTER_TRY(link, ServerLink::connect(std::move(stream), configuration_.server_keys.front(), configuration_.role,
                                           s_.random, s_.clock, step()));
    link_.emplace(std::move(link));
    CLOISTER_TRY(message, link_->receive(step()));
    const auto* challenge = std::get_if<protocol::Challenge>(&message);
    if (challenge == nullptr) return unexpected("a challenge");
    if (configuration_.demand) CLOISTER_CHECK(examine_server(*configuration_.demand));
    CLOISTER_CHECK(attest(*challenge));
    CLOISTER_TRY(answer, link_->receive(step()));
    CLOISTER_CHECK(answered(answer));
    if (configuration_.role == protocol::Role::validator) return serve_validator();
    CLOISTER_TRY(secrets, link_->receive(step()));
    const auto* release = std::get_if<protocol::Release>(&secrets);
    if (release == nullptr) return unexpected("the release of the secrets");
    if (worker_) {
      CLOISTER_CHECK(resume());
    } else {
      CLOISTER_CHECK(start_challenge(*release));
    }
    return serve();
  }

  /// Has the server prove itself first, as the configuration demands: on this channel, with what it names. Nothing of this TD's
  /// is sent before, neither evidence nor keys; the challenge still waits for its answer.
  Result<void> examine_server(const model::EvidenceDemand& wanted) {
    const auto nonce = s_.random.array<32>();
    CLOISTER_CHECK(link_->send(protocol::Demand{nonce}));
    CLOISTER_TRY(message, link_->receive(step()));
    if (const auto* refused = std::get_if<protocol::Refused>(&message)) return fatal(refusal(*refused));
    const auto* shown = std::get_if<protocol::ShownServer>(&message);
    if (shown == nullptr) return unexpected("the server's evidence");
    const policy::ServerChannel channel{nonce, link_->handshake_hash(), link_->server_key()};
    const auto server = policy::appraise_server(shown->proof, channel, wanted, s_.clock.now());
    if (!server) {
      tell_failure(server.error());
      return fatal(server.error());
    }
    s_.logger.info("server.verified", {{"server_id", server->identity().server_id},
                                       {"configuration", codec::to_hex(server->identity().configuration_digest)},
                                       {"lab", server->appraised().lab()}});
    return {};
  }

  /// The newest stream that the host hands over. The challenge is served while none is there.
  Result<process::UniqueFd> next_stream() {
    for (;;) {
      process::UniqueFd newest;
      for (;;) {
        auto frame = streams_.try_receive();
        if (!frame) return fatal(std::move(frame).error());
        if (!*frame) break;
        if (!(**frame).descriptors.empty()) newest = std::move((**frame).descriptors.front());
      }
      if (newest.valid()) return newest;
      CLOISTER_TRY(another, wait());
      static_cast<void>(another);
    }
  }

  [[nodiscard]] oci::BlobSource blobs() const {
    return [this](const Digest32& digest, std::uint64_t max_bytes) -> Result<Bytes> {
      const auto found = boot_.blobs.find(digest);
      if (found == boot_.blobs.end()) return Error{Errc::not_found, "a blob of the image was not given"};
      return oci::read_descriptor(found->second, max_bytes);
    };
  }

  Result<void> verify_image() {
    CLOISTER_TRY(image, oci::load(*configuration_.image_digest, blobs()));
    CLOISTER_CHECK(oci::verify_layers(image, blobs()));
    image_ = std::move(image);
    return {};
  }

  Result<void> measure(std::string_view name, const Digest32& digest) {
    evidence::GuestEvent event;
    event.rtmr = protocol::kLaunchRtmr;
    event.name = name;
    event.payload = to_bytes(ByteView{digest});
    CLOISTER_CHECK(s_.device.extend_rtmr(event.rtmr, evidence::guest_event_digest(event.name, event.payload)));
    events_.push_back(std::move(event));
    return {};
  }

  Result<void> attest(const protocol::Challenge& challenge) {
    protocol::Preimage preimage;
    preimage.role = configuration_.role;
    preimage.server_key_id = protocol::server_key_id(link_->server_key());
    preimage.nonce = challenge.nonce;
    preimage.handshake_hash = link_->handshake_hash();
    preimage.instance = challenge.instance;
    preimage.hotkey = challenge.hotkey;
    if (configuration_.role == protocol::Role::instance) {
      if (!challenge.instance) return unexpected("an instance in the challenge");
      if (!instance_.empty() && instance_ != *challenge.instance) return unexpected("the instance of before");
      instance_ = *challenge.instance;
      preimage.keys = shown_keys_;
    }
    protocol::Attest answer;
    answer.preimage = protocol::encode(preimage);
    auto quote = s_.device.quote(protocol::report_data(answer.preimage));
    if (!quote) return fatal(std::move(quote).error());
    answer.evidence = std::move(quote->evidence);
    answer.event_log = evidence::encode_guest_event_log(events_);
    answer.configuration = boot_.configuration;
    return link_->send(answer);
  }

  static Error refusal(const protocol::Refused& refused) {
    return Error{errc_from_string(refused.code).value_or(Errc::permission_denied), refused.detail};
  }

  /// The server is told why this TD ends, as far as it listens.
  void tell_failure(const Error& why) {
    if (link_->send(protocol::Failed{std::string{to_string(why.code())}, why.detail().substr(0, 500)})) drain();
  }

  /// The server's answer to evidence.
  Result<void> answered(const protocol::ToTd& answer) {
    if (const auto* refused = std::get_if<protocol::Refused>(&answer)) return fatal(refusal(*refused));
    const auto* accepted = std::get_if<protocol::Accepted>(&answer);
    if (accepted == nullptr) return unexpected("accepted or refused");
    session_ = accepted->session;
    if (worker_) worker_->in_session(session_);
    s_.logger.info("attested", {{"session", session_.str()}});
    return {};
  }

  /// A validator's TD answers challenges until the server is gone.
  Result<void> serve_validator() {
    for (;;) {
      while (auto message = link_->next()) {
        if (!*message) return std::move(*message).error();
        if (const auto* challenge = std::get_if<protocol::Challenge>(&**message)) {
          CLOISTER_CHECK(attest(*challenge));
        } else {
          CLOISTER_CHECK(answered(**message));
        }
      }
      CLOISTER_TRY(another, wait());
      if (another) return Error{Errc::peer_closed, "the host has another stream"};
    }
  }

  Result<void> start_challenge(const protocol::Release& release) {
    auto started = start_with(release);
    if (started) return {};
    tell_failure(started.error());
    return fatal(started.error());
  }

  /// This instance goes on where it was: with the results that nobody acknowledged, and what runs.
  Result<void> resume() {
    CLOISTER_CHECK(link_->send(protocol::Ready{worker_->slots()}));
    for (const auto& result : worker_->unsettled()) CLOISTER_CHECK(link_->send(result));
    next_beat_ = s_.clock.steady();
    return {};
  }

  /// Opens the secrets, unpacks the image, runs its entry point, and waits until that is ready.
  Result<void> start_with(const protocol::Release& release) {
    std::vector<OpenedSecret> secrets;
    for (const auto& sealed : release.secrets) {
      const auto info = protocol::release_info(session_, sealed.path, sealed.version);
      auto value = crypto::hpke_open(keys_.payload, sealed.enc, info, {}, sealed.ciphertext);
      if (!value) return value.error().in(sealed.path);
      secrets.push_back({sealed.name, *std::move(value)});
    }
    for (const auto& sealed : release.keys) {
      const auto name = sealed.purpose + '/' + std::to_string(sealed.version);
      const auto info = protocol::key_release_info(session_, sealed.purpose, sealed.version);
      auto value = crypto::hpke_open(keys_.payload, sealed.enc, info, {}, sealed.ciphertext);
      if (!value) return value.error().in(name);
      if (value->size() != kDerivedKeySize) return Error{Errc::key_invalid, name + ": a derived key of 32 bytes expected"};
      secrets.push_back({name, *std::move(value)});
    }
    const auto root = s_.scratch / "root";
    CLOISTER_CHECK(oci::unpack(*image_, blobs(), root));
    CLOISTER_TRY(challenge, ChallengeProcess::start(*image_, root, secrets));
    s_.logger.info("challenge.started", {{"not_isolated", challenge.not_isolated()}});
    challenge_.emplace(std::move(challenge));
    auto& socket = challenge_->socket();
    const auto deadline = step();
    while (!worker_) {
      CLOISTER_CHECK(socket.flush());
      const auto events = static_cast<short>(socket.wants_write() ? POLLIN | POLLOUT : POLLIN);
      CLOISTER_CHECK(process::wait_for(socket.fd(), events, deadline));
      CLOISTER_CHECK(from_challenge());
    }
    return {};
  }

  Result<void> serve() {
    for (;;) {
      while (auto message = link_->next()) {
        if (!*message) return std::move(*message).error();
        CLOISTER_CHECK(from_server(**message));
      }
      CLOISTER_CHECK(beat());
      CLOISTER_TRY(another, wait());
      if (another) return Error{Errc::peer_closed, "the host has another stream"};
    }
  }

  /// Waits until something comes, and takes it: from the server, while there is a link, and from the challenge, while it
  /// runs. True when the host hands over a stream.
  Result<bool> wait() {
    std::array<pollfd, 3> polled{{{streams_.fd(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}}};
    if (link_) {
      CLOISTER_CHECK(link_->flush());
      polled[1] = {link_->fd(), static_cast<short>(link_->wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
    }
    int timeout = -1;
    if (worker_) {
      CLOISTER_CHECK(feed_challenge());
      auto& socket = challenge_->socket();
      polled[2] = {socket.fd(), static_cast<short>(socket.wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
      if (worker_->busy()) timeout = static_cast<int>(kHeartbeat.count() / 4);
    }
    if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) return fatal(process::errno_error("poll"));
    constexpr short kReadable = POLLIN | POLLHUP | POLLERR;
    if ((polled[2].revents & kReadable) != 0) {
      auto taken = from_challenge();
      if (!taken) return challenge_ended(taken.error());
    }
    if ((polled[1].revents & kReadable) != 0) CLOISTER_CHECK(link_->read());
    return (polled[0].revents & kReadable) != 0;
  }

  Result<void> feed_challenge() {
    if (worker_->overdue()) {
      return challenge_ended(Error{Errc::job_timeout, "the challenge did not finish a job in its time"});
    }
    auto& socket = challenge_->socket();
    while (const auto job = worker_->give()) socket.send(*job);
    auto flushed = socket.flush();
    if (!flushed) return challenge_ended(flushed.error());
    return {};
  }

  Result<void> from_server(const protocol::ToTd& message) {
    if (const auto* job = std::get_if<protocol::AssignJob>(&message)) {
      const auto failed = worker_->assign(*job);
      s_.logger.info(failed ? "job.refused" : "job.started", {{"job", job->job.str()},
                                                              {"attempt", job->attempt.str()},
                                                              {"instance", instance_.str()},
                                                              {"code", failed ? failed->code : ""}});
      return failed ? link_->send(*failed) : Result<void>{};
    }
    if (const auto* cancel = std::get_if<protocol::CancelJob>(&message)) {
      worker_->cancel(cancel->attempt);
      return {};
    }
    if (const auto* taken = std::get_if<protocol::ResultAccepted>(&message)) {
      worker_->settled(taken->attempt);
      return {};
    }
    if (const auto* refused = std::get_if<protocol::ResultRefused>(&message)) {
      s_.logger.warn("result.refused", {{"attempt", refused->attempt.str()}, {"code", refused->code}});
      worker_->settled(refused->attempt);
      return {};
    }
    if (const auto* challenge = std::get_if<protocol::Challenge>(&message)) return attest(*challenge);
    return answered(message);
  }

  Result<void> from_challenge() {
    CLOISTER_TRY(messages, challenge_->socket().receive());
    for (const auto& message : messages) {
      if (const auto* ready = std::get_if<protocol::challenge::Ready>(&message)) {
        if (worker_) return Error{Errc::challenge_failed, "the challenge was ready before"};
        worker_.emplace(Identity{instance_, *configuration_.version, *configuration_.image_digest, session_,
                                 std::move(keys_.payload), std::move(keys_.result)},
                        ready->slots, s_.clock, s_.random);
        CLOISTER_CHECK(send(protocol::Ready{ready->slots}));
      } else if (const auto* failed = std::get_if<protocol::challenge::Failed>(&message)) {
        return Error{Errc::challenge_failed, failed->detail.substr(0, 400)};
      } else if (const auto* log = std::get_if<protocol::challenge::Log>(&message)) {
        s_.logger.info("challenge.log", {{"level", log->level}, {"text", log->text}});
      } else if (!worker_) {
        return Error{Errc::challenge_failed, "the challenge answered before it was ready"};
      } else if (const auto* progress = std::get_if<protocol::challenge::Progress>(&message)) {
        worker_->progress(*progress);
      } else {
        CLOISTER_TRY(result, worker_->finish(std::get<protocol::challenge::Result>(message)));
        if (!result) continue;
        CLOISTER_TRY(envelope, protocol::decode_envelope(result->envelope));
        s_.logger.info("job.finished", {{"job", envelope.job.str()},
                                        {"attempt", result->attempt.str()},
                                        {"instance", instance_.str()},
                                        {"status", envelope.status}});
        CLOISTER_CHECK(send(*result));
      }
    }
    return {};
  }

  /// What is not heard because there is no link, or because it breaks, is said again after the next attestation.
  Result<void> send(const protocol::ToServer& message) { return link_ ? link_->send(message) : Result<void>{}; }

  /// The challenge is gone, or of no more use: its attempts failed, and this instance ends, the challenge with it.
  Error challenge_ended(const Error& why) {
    const auto code = why.code() == Errc::job_timeout ? Errc::job_timeout : Errc::challenge_failed;
    const auto tell = [&]() -> Result<void> {
      for (const auto& failed : worker_->fail_all()) CLOISTER_CHECK(send(failed));
      return send(protocol::Failed{std::string{to_string(code)}, why.detail().substr(0, 500)});
    };
    if (tell() && link_) drain();
    return fatal(why);
  }

  Result<void> beat() {
    const auto now = s_.clock.steady();
    if (worker_->running() == 0 || now < next_beat_) return {};
    next_beat_ = now + kHeartbeat;
    for (const auto& beat : worker_->heartbeats()) CLOISTER_CHECK(link_->send(beat));
    return {};
  }

  /// Sends what waits, for as long as one step may take; the end follows, so failures no longer matter.
  void drain() {
    const auto deadline = step();
    while (link_->flush() && link_->wants_write() && process::wait_for(link_->fd(), POLLOUT, deadline)) {
    }
  }

  device::Boot boot_;
  Surroundings s_;
  process::FrameSocket streams_;
  Keys keys_;
  std::vector<protocol::BoundKey> shown_keys_;
  protocol::Configuration configuration_;
  std::optional<oci::Image> image_;
  std::vector<evidence::GuestEvent> events_;
  std::optional<ServerLink> link_;
  InstanceId instance_;
  SessionId session_;
  std::optional<ChallengeProcess> challenge_;
  std::optional<Worker> worker_;
  SteadyTime next_beat_{};
  bool over_ = false;
};

}  // namespace

Error run(device::Boot boot, Surroundings surroundings) { return Guest{std::move(boot), std::move(surroundings)}.run(); }

}  // namespace cloister::guest
