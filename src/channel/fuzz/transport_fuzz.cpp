// An established channel whose peer breaks rules: the input is a series of u16 lengths and plaintexts, each encrypted
// as the peer would and fed to the end that the first byte names (bit 0), or fed as it is (bit 1). Where the stream is
// cut makes no difference, and messages that are accepted come out the same when an honest peer sends them.
#include "../src/transport.hpp"

#include "cloister/codec/cursor.hpp"
#include "fuzz_random.hpp"

using namespace cloister;

namespace {

struct Ends {
  channel::Transport td;
  channel::Transport server;
};

Ends connect() {
  channel::FuzzRandom random{0x11};
  channel::FuzzRandom td_random{0x22};
  channel::FuzzRandom answer_random{0x33};
  const auto key = crypto::X25519Key::generate(random);
  const std::vector<const crypto::X25519Key*> keys{&key};
  channel::Initiator initiator{key.public_key(), protocol::Role::instance, td_random};
  channel::Responder responder{keys, protocol::Role::instance, answer_random};
  auto accepted = responder.feed(initiator.start().value()).value();
  auto td = initiator.feed(accepted->reply).value();
  return {std::move(*td), std::move(accepted->transport)};
}

Bytes encrypted(channel::Transport& peer, ByteView plaintexts) {
  auto& session = channel::TransportAccess::state(peer).session;
  codec::Reader in{plaintexts};
  Bytes out;
  while (const auto size = in.u16be()) {
    const auto plaintext = in.take(*size);
    if (!plaintext || plaintext->size() > channel::kMaxPlaintext) break;
    channel::append_frame(out, session.send.encrypt({}, *plaintext));
    if (plaintext->size() == 1 && plaintext->front() == static_cast<std::uint8_t>(channel::FrameKind::rekey)) {
      session.send.rekey();
    }
  }
  return out;
}

struct Outcome {
  std::vector<Bytes> messages;
  bool closed = false;
  std::optional<Errc> refusal;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome run(bool to_server, bool raw, ByteView input, std::size_t pieces) {
  auto ends = connect();
  auto& peer = to_server ? ends.td : ends.server;
  auto& end = to_server ? ends.server : ends.td;
  const auto made = raw ? to_bytes(input) : encrypted(peer, input);
  ByteView wire{made};
  Outcome out;
  while (!out.refusal && !wire.empty()) {
    const auto piece = wire.first(std::min(wire.size(), made.size() / pieces + 1));
    wire = wire.subspan(piece.size());
    auto received = end.feed(piece);
    if (!received.ok()) {
      out.refusal = received.error().code();
      break;
    }
    for (auto& message : received->messages) out.messages.push_back(std::move(message));
    out.closed = out.closed || received->closed;
  }
  CLOISTER_ASSERT(end.end_of_stream().ok() == (out.closed && !out.refusal));
  return out;
}

void check_honest(const std::vector<Bytes>& messages) {
  auto ends = connect();
  for (const auto& message : messages) {
    const auto received = ends.server.feed(ends.td.seal(message).value()).value();
    CLOISTER_ASSERT(received.messages.size() == 1 && received.messages.front() == message);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool to_server = (data[0] & 1) == 0;
  const bool raw = (data[0] & 2) != 0;
  const auto input = ByteView{data, size}.subspan(1);
  const auto whole = run(to_server, raw, input, 1);
  const auto cut = run(to_server, raw, input, 7);
  CLOISTER_ASSERT(whole.refusal == cut.refusal);
  CLOISTER_ASSERT(whole.refusal || whole == cut);
  check_honest(cut.messages);
  return 0;
}
