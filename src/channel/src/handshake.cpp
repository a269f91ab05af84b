#include "cloister/channel/channel.hpp"
#include "cloister/codec/cbor.hpp"
#include "transport.hpp"

namespace cloister::channel {
namespace {

/// Both handshake messages: an ephemeral key and the tag of an empty payload.
constexpr std::size_t kHandshakeSize = sizeof(crypto::X25519Public) + crypto::kTagSize;

/// The next handshake message; refused as soon as its length shows, because no other length is right.
Result<std::optional<ByteView>> next_message(FrameBuffer& wire) {
  const auto bytes = wire.rest();
  if (bytes.size() >= kLengthSize) {
    const auto size = static_cast<std::size_t>(bytes[0]) << 8 | bytes[1];
    if (size != kHandshakeSize) {
      return Error{Errc::handshake_failed, "a message of " + std::to_string(kHandshakeSize) + " bytes expected, got " +
                                               std::to_string(size)};
    }
  }
  return wire.next();
}

}  // namespace

Bytes prologue(protocol::Role role) {
  codec::cbor::Writer out;
  out.array(2).text("cloister/channel/1").text(protocol::to_string(role));
  return std::move(out).take();
}

struct Initiator::State {
  noise::NkInitiator handshake;
  crypto::X25519Public server_key;
  crypto::X25519Public ephemeral;
  FrameBuffer wire;
  bool started = false;
  std::optional<Error> failure;

  Result<std::optional<noise::Session>> advance(ByteView bytes) {
    wire.feed(bytes);
    CLOISTER_TRY(message, next_message(wire));
    if (!message) return std::optional<noise::Session>{};
    if (same_bytes(message->first(sizeof ephemeral), ephemeral)) {
      return Error{Errc::channel_reflected, "the first message came back"};
    }
    CLOISTER_TRY(opened, handshake.read(*message));
    return std::optional{std::move(opened.session)};
  }
};

Initiator::Initiator(const crypto::X25519Public& server_key, protocol::Role role, Random& random) {
  auto key = crypto::X25519Key::generate(random);
  const auto ephemeral = key.public_key();
  state_ = std::make_unique<State>(
      State{noise::NkInitiator{prologue(role), server_key, std::move(key)}, server_key, ephemeral, {}, false, {}});
}
Initiator::Initiator(Initiator&&) noexcept = default;
Initiator& Initiator::operator=(Initiator&&) noexcept = default;
Initiator::~Initiator() = default;

Result<Bytes> Initiator::start() {
  CLOISTER_ASSERT(!state_->started);
  state_->started = true;
  CLOISTER_TRY(message, state_->handshake.write({}));
  Bytes out;
  append_frame(out, message);
  return out;
}

Result<std::optional<Transport>> Initiator::feed(ByteView wire) {
  CLOISTER_ASSERT(state_->started);
  if (state_->failure) return *state_->failure;
  auto session = state_->advance(wire);
  if (!session) {
    state_->failure = session.error();
    return std::move(session).error();
  }
  if (!*session) return std::optional<Transport>{};
  state_->failure = Error{Errc::handshake_failed, "the handshake is over"};
  FrameBuffer waiting;
  waiting.feed(state_->wire.rest());
  return std::optional{Transport{
      std::make_unique<Transport::State>(std::move(**session), state_->server_key, std::move(waiting))}};
}

struct Responder::State {
  std::vector<const crypto::X25519Key*> keys;
  protocol::Role role;
  Random* random;
  FrameBuffer wire;
  std::optional<Error> failure;

  struct Answered {
    Bytes reply;
    noise::Session session;
    crypto::X25519Public server_key;
  };

  /// The answer by the first of the keys that the message was made for.
  Result<Answered> answer(ByteView message) {
    for (const auto* key : keys) {
      noise::NkResponder handshake{prologue(role), *key};
      if (!handshake.read(message)) continue;
      CLOISTER_TRY(written, handshake.write({}, crypto::X25519Key::generate(*random)));
      Bytes reply;
      append_frame(reply, written.first);
      return Answered{std::move(reply), std::move(written.second), key->public_key()};
    }
    return Error{Errc::handshake_failed, "the message was not made for a key of this server and this role"};
  }

  Result<std::optional<Answered>> advance(ByteView bytes) {
    wire.feed(bytes);
    CLOISTER_TRY(message, next_message(wire));
    if (!message) return std::optional<Answered>{};
    CLOISTER_TRY(answered, answer(*message));
    return std::optional{std::move(answered)};
  }
};

Responder::Responder(std::span<const crypto::X25519Key* const> keys, protocol::Role role, Random& random)
    : state_{std::make_unique<State>(State{{keys.begin(), keys.end()}, role, &random, {}, {}})} {
  CLOISTER_ASSERT(!keys.empty());
}
Responder::Responder(Responder&&) noexcept = default;
Responder& Responder::operator=(Responder&&) noexcept = default;
Responder::~Responder() = default;

Result<std::optional<Responder::Accepted>> Responder::feed(ByteView wire) {
  if (state_->failure) return *state_->failure;
  auto answered = state_->advance(wire);
  if (!answered) {
    state_->failure = answered.error();
    return std::move(answered).error();
  }
  if (!*answered) return std::optional<Accepted>{};
  state_->failure = Error{Errc::handshake_failed, "the handshake is over"};
  FrameBuffer waiting;
  waiting.feed(state_->wire.rest());
  auto& made = **answered;
  return std::optional{Accepted{
      std::move(made.reply),
      Transport{std::make_unique<Transport::State>(std::move(made.session), made.server_key, std::move(waiting))}}};
}

}  // namespace cloister::channel
