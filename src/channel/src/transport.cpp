#include "transport.hpp"

#include <algorithm>

namespace cloister::channel {
namespace {

/// How far around its turn a frame is looked for when it does not open.
constexpr std::uint64_t kWindow = 32;

Error invalid(std::string detail) { return Error{Errc::channel_message_invalid, std::move(detail)}; }

}  // namespace

void Transport::State::send(Bytes& out, FrameKind kind, ByteView contents) {
  if (sent + 1 >= rekey_frames && kind != FrameKind::rekey) send_rekey(out);
  Bytes plaintext;
  plaintext.reserve(1 + contents.size());
  plaintext.push_back(static_cast<std::uint8_t>(kind));
  append(plaintext, contents);
  append_frame(out, session.send.encrypt({}, plaintext));
  crypto::cleanse(plaintext);
  ++sent;
}

void Transport::State::send_rekey(Bytes& out) {
  send(out, FrameKind::rekey, {});
  session.send.rekey();
  sent = 0;
}

Result<void> Transport::State::receive(ByteView message, Received& out) {
  if (got_close) return Error{Errc::channel_closed, "a frame after the peer's close"};
  if (received == rekey_frames) return invalid("a rekey expected, got another frame under a key that has served");
  const auto plaintext = session.receive.decrypt({}, message);
  if (!plaintext) return diagnose(message);
  ++received;
  if (plaintext->empty()) return invalid("a kind expected, got an empty frame");
  const auto kind = plaintext->reveal().front();
  if (kind > static_cast<std::uint8_t>(FrameKind::close)) return invalid("unknown kind " + std::to_string(kind));
  return take(static_cast<FrameKind>(kind), plaintext->reveal().subspan(1), out);
}

Result<void> Transport::State::take(FrameKind kind, ByteView contents, Received& out) {
  if (kind == FrameKind::more || kind == FrameKind::last) return take_fragment(kind, contents, out);
  if (!contents.empty()) return invalid("contents in a control frame");
  if (kind == FrameKind::rekey) {
    session.receive.rekey();
    received = 0;
    return {};
  }
  if (!partial.empty()) return invalid("close within a message");
  got_close = true;
  out.closed = true;
  return {};
}

/// A message is cut in one way only: full fragments, then the rest, which is empty for the empty message alone.
Result<void> Transport::State::take_fragment(FrameKind kind, ByteView contents, Received& out) {
  if (kind == FrameKind::more && contents.size() != kMaxFragment) {
    return invalid("a full fragment expected, got " + std::to_string(contents.size()) + " bytes");
  }
  if (kind == FrameKind::last && contents.empty() && !partial.empty()) return invalid("an empty last fragment");
  if (contents.size() > limit - std::min(limit, partial.size())) {
    return Error{Errc::limit_exceeded, "a message of at most " + std::to_string(limit) + " bytes expected"};
  }
  append(partial, contents);
  if (kind == FrameKind::last) out.messages.push_back(std::exchange(partial, {}));
  return {};
}

Error Transport::State::diagnose(ByteView message) const {
  const auto within = [&](const noise::CipherState& cipher, std::uint64_t first, std::uint64_t last) {
    for (auto number = first; number < last; ++number) {
      if (cipher.opens(number, message)) return true;
    }
    return false;
  };
  const auto mine = session.send.next_number();
  const auto turn = session.receive.next_number();
  if (within(session.send, mine - std::min(mine, kWindow), mine)) {
    return Error{Errc::channel_reflected, "a frame that this end sent"};
  }
  if (within(session.receive, turn - std::min(turn, kWindow), turn)) {
    return Error{Errc::channel_replayed, "a frame that was here before"};
  }
  if (within(session.receive, turn + 1, turn + 1 + kWindow)) {
    return Error{Errc::channel_reordered, "a frame before its turn"};
  }
  return Error{Errc::decryption_failed, "frame " + std::to_string(turn) + ": changed on the way, or not the peer's"};
}

std::optional<Error> Transport::State::cannot_send() const {
  if (failure) return failure;
  if (sent_close) return Error{Errc::channel_closed, "nothing can be sent after close"};
  return std::nullopt;
}

Transport::Transport(std::unique_ptr<State> state) : state_{std::move(state)} {}
Transport::Transport(Transport&&) noexcept = default;
Transport& Transport::operator=(Transport&&) noexcept = default;
Transport::~Transport() = default;

const Digest32& Transport::handshake_hash() const noexcept { return state_->session.handshake_hash; }
const crypto::X25519Public& Transport::server_key() const noexcept { return state_->server_key; }

Result<Bytes> Transport::seal(ByteView message) {
  if (const auto refusal = state_->cannot_send()) return *refusal;
  if (message.size() > kMaxMessage) {
    return Error{Errc::limit_exceeded, "a message of at most " + std::to_string(kMaxMessage) + " bytes expected, got " +
                                           std::to_string(message.size())};
  }
  Bytes out;
  while (message.size() > kMaxFragment) {
    state_->send(out, FrameKind::more, message.first(kMaxFragment));
    message = message.subspan(kMaxFragment);
  }
  state_->send(out, FrameKind::last, message);
  return out;
}

Result<Bytes> Transport::rekey() {
  if (const auto refusal = state_->cannot_send()) return *refusal;
  Bytes out;
  state_->send_rekey(out);
  return out;
}

Result<Bytes> Transport::close() {
  if (const auto refusal = state_->cannot_send()) return *refusal;
  Bytes out;
  state_->send(out, FrameKind::close, {});
  state_->sent_close = true;
  return out;
}

Result<Received> Transport::feed(ByteView wire) {
  if (state_->failure) return *state_->failure;
  state_->wire.feed(wire);
  Received out;
  while (const auto message = state_->wire.next()) {
    if (auto taken = state_->receive(*message, out); !taken) {
      state_->failure = std::move(taken).error();
      return *state_->failure;
    }
  }
  if (state_->got_close && !state_->wire.rest().empty()) {
    state_->failure = Error{Errc::channel_closed, "bytes after the peer's close"};
    return *state_->failure;
  }
  return out;
}

Result<void> Transport::end_of_stream() {
  if (state_->failure) return *state_->failure;
  if (state_->got_close) return {};
  state_->failure = Error{Errc::channel_truncated, "the stream ended without the peer's close"};
  return *state_->failure;
}

void Transport::allow(std::size_t max_message) {
  CLOISTER_ASSERT(max_message <= kMaxMessage);
  state_->limit = max_message;
}

}  // namespace cloister::channel
