// The server's end of a handshake. A handshake that it accepts was accepted for its key and leaves a transport that
// has not closed; where the stream is cut makes no difference.
#include "cloister/channel/channel.hpp"
#include "fuzz_random.hpp"

using namespace cloister;

namespace {

Result<std::optional<channel::Responder::Accepted>> run(const crypto::X25519Key& key, ByteView wire, std::size_t cut) {
  channel::FuzzRandom random{0x33};
  const std::vector<const crypto::X25519Key*> keys{&key};
  channel::Responder responder{keys, protocol::Role::instance, random};
  auto early = responder.feed(wire.first(cut));
  if (!early.ok() || early->has_value()) return early;
  return responder.feed(wire.subspan(cut));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  channel::FuzzRandom random{0x11};
  const auto key = crypto::X25519Key::generate(random);
  const ByteView wire{data, size};
  const auto whole = run(key, wire, size);
  const auto cut = run(key, wire, size / 2);
  CLOISTER_ASSERT(whole.ok() == cut.ok());
  if (!whole.ok()) return 0;
  CLOISTER_ASSERT(whole->has_value() == cut->has_value());
  if (!whole->has_value()) return 0;
  CLOISTER_ASSERT((*whole)->transport.server_key() == key.public_key());
  CLOISTER_ASSERT((*whole)->transport.handshake_hash() == (*cut)->transport.handshake_hash());
  return 0;
}
