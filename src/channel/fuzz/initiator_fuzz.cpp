// The TD's end of a handshake, up to the transport behind it. Nobody without the server's key can make a new answer,
// so every transport has the handshake hash of the one answer in the corpus.
#include "cloister/channel/channel.hpp"
#include "fuzz_random.hpp"

using namespace cloister;

namespace {

struct Server {
  crypto::X25519Key key;
  Digest32 handshake_hash;
};

channel::Initiator start(const crypto::X25519Public& key, Bytes& first) {
  channel::FuzzRandom random{0x22};
  channel::Initiator out{key, protocol::Role::instance, random};
  first = out.start().value();
  return out;
}

const Server& server() {
  static const auto made = [] {
    channel::FuzzRandom random{0x11};
    channel::FuzzRandom answer_random{0x33};
    auto key = crypto::X25519Key::generate(random);
    const std::vector<const crypto::X25519Key*> keys{&key};
    channel::Responder responder{keys, protocol::Role::instance, answer_random};
    Bytes first;
    static_cast<void>(start(key.public_key(), first));
    const auto hash = responder.feed(first).value()->transport.handshake_hash();
    return Server{std::move(key), hash};
  }();
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes first;
  auto initiator = start(server().key.public_key(), first);
  auto transport = initiator.feed({data, size});
  if (!transport.ok() || !transport->has_value()) return 0;
  CLOISTER_ASSERT((*transport)->handshake_hash() == server().handshake_hash);
  if ((*transport)->feed({}).ok()) static_cast<void>((*transport)->end_of_stream());
  return 0;
}
