// Checks docs/protocol/vectors/channel.json against the code; writes it anew where CLOISTER_WRITE_VECTORS is set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "cloister/channel/channel.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::channel {
namespace {

using codec::to_hex;
using codec::json::Array;
using codec::json::Object;
using codec::json::Value;

/// A private key of one byte repeated.
class RepeatedByte final : public Random {
 public:
  explicit RepeatedByte(std::uint8_t byte) : byte_{byte} {}
  void fill(std::span<std::uint8_t> out) override { std::ranges::fill(out, byte_); }

 private:
  std::uint8_t byte_;
};

/// Bytes 0 to 250, again and again.
Bytes pattern(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i % 251);
  return out;
}

constexpr std::size_t kLong = 70000;

/// What one end sends: each frame as it stands, the long message's by its digest.
Value direction(Transport& from, Transport& to) {
  Array out;
  const auto deliver = [&](const Bytes& wire) { return to.feed(wire).value(); };
  const auto add_message = [&](std::string_view text) {
    const auto wire = from.seal(as_bytes(text)).value();
    EXPECT_EQ(deliver(wire).messages.at(0), to_bytes(text));
    out.emplace_back(Object{{"message", to_hex(as_bytes(text))}, {"wire", to_hex(wire)}});
  };
  add_message("first");
  add_message("");
  const auto large = from.seal(pattern(kLong)).value();
  EXPECT_EQ(deliver(large).messages.at(0), pattern(kLong));
  out.emplace_back(Object{{"pattern_bytes", kLong}, {"wire_sha256", to_hex(crypto::sha256(large))}});
  const auto rekey = from.rekey().value();
  EXPECT_TRUE(deliver(rekey).messages.empty());
  out.emplace_back(Object{{"control", "rekey"}, {"wire", to_hex(rekey)}});
  add_message("after rekey");
  const auto close = from.close().value();
  EXPECT_TRUE(deliver(close).closed);
  out.emplace_back(Object{{"control", "close"}, {"wire", to_hex(close)}});
  return Value{std::move(out)};
}

Value vectors() {
  RepeatedByte server_random{0x11};
  RepeatedByte td_random{0x22};
  RepeatedByte answer_random{0x33};
  const auto key = crypto::X25519Key::generate(server_random);
  const std::vector<const crypto::X25519Key*> keys{&key};
  Initiator initiator{key.public_key(), protocol::Role::instance, td_random};
  Responder responder{keys, protocol::Role::instance, answer_random};
  const auto first = initiator.start().value();
  auto accepted = responder.feed(first).value();
  auto td = initiator.feed(accepted->reply).value();
  EXPECT_EQ(td->handshake_hash(), accepted->transport.handshake_hash());
  return Value{Object{{"role", "instance"},
                      {"prologue", to_hex(prologue(protocol::Role::instance))},
                      {"server_private_key", to_hex(key.private_key().reveal())},
                      {"server_public_key", to_hex(key.public_key())},
                      {"td_ephemeral_private_key", to_hex(Bytes(32, 0x22))},
                      {"server_ephemeral_private_key", to_hex(Bytes(32, 0x33))},
                      {"first_frame", to_hex(first)},
                      {"answer_frame", to_hex(accepted->reply)},
                      {"handshake_hash", to_hex(td->handshake_hash())},
                      {"td_to_server", direction(*td, accepted->transport)},
                      {"server_to_td", direction(accepted->transport, *td)}}};
}

TEST(ChannelVectors, FileIsWhatTheCodeDoes) {
  const auto path = test::source_dir() / "docs/protocol/vectors/channel.json";
  const auto fresh = codec::json::write_pretty(vectors()) + "\n";
  if (std::getenv("CLOISTER_WRITE_VECTORS") != nullptr) std::ofstream{path} << fresh;
  EXPECT_EQ(test::read_text(path), fresh);
}

}  // namespace
}  // namespace cloister::channel
