#include "noise.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::channel::noise {
namespace {

using codec::json::Value;

Bytes hex(const Value& object, std::string_view name) {
  const auto* value = object.find(name);
  return value == nullptr ? Bytes{} : codec::from_hex(*value->as_string()).value();
}

X25519Key key(const Value& object, std::string_view name) {
  return X25519Key::from_private(Secret<32>::copy_of(hex(object, name)));
}

bool is_nk(const Value& vector) {
  const auto* keys = vector.find("init_psks");
  return *vector.find("protocol_name")->as_string() == "Noise_NK_25519_ChaChaPoly_SHA256" &&
         (keys == nullptr || keys->as_array()->empty());
}

struct Message {
  Bytes payload;
  Bytes ciphertext;
};

/// Both handshake messages, then transport messages of both ends in turn.
void check(const Value& vector) {
  std::vector<Message> messages;
  for (const auto& one : *vector.find("messages")->as_array()) {
    messages.push_back({hex(one, "payload"), hex(one, "ciphertext")});
  }
  const auto server = key(vector, "resp_static");
  EXPECT_EQ(to_bytes(server.public_key()), hex(vector, "init_remote_static"));
  NkInitiator initiator{hex(vector, "init_prologue"), server.public_key(), key(vector, "init_ephemeral")};
  NkResponder responder{hex(vector, "resp_prologue"), server};

  EXPECT_EQ(initiator.write(messages[0].payload).value(), messages[0].ciphertext);
  EXPECT_EQ(responder.read(messages[0].ciphertext).value(), messages[0].payload);
  auto answer = responder.write(messages[1].payload, key(vector, "resp_ephemeral")).value();
  EXPECT_EQ(answer.first, messages[1].ciphertext);
  auto opened = initiator.read(messages[1].ciphertext).value();
  EXPECT_EQ(opened.payload, messages[1].payload);
  EXPECT_EQ(opened.session.handshake_hash, answer.second.handshake_hash);
  if (vector.find("handshake_hash") != nullptr) {
    EXPECT_EQ(to_bytes(opened.session.handshake_hash), hex(vector, "handshake_hash"));
  }

  for (std::size_t i = 2; i < messages.size(); ++i) {
    auto& from = i % 2 == 0 ? opened.session : answer.second;
    auto& to = i % 2 == 0 ? answer.second : opened.session;
    EXPECT_EQ(from.send.encrypt({}, messages[i].payload), messages[i].ciphertext) << i;
    EXPECT_TRUE(same_bytes(to.receive.decrypt({}, messages[i].ciphertext).value().reveal(), messages[i].payload)) << i;
  }
}

TEST(Noise, PublicVectors) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto file = test::read_text(folder / "crypto/noise/noise_25519_ChaChaPoly_SHA256.json");
  const auto document = codec::json::parse(file).value();
  std::size_t used = 0;
  for (const auto& vector : *document.find("vectors")->as_array()) {
    if (!is_nk(vector)) continue;
    check(vector);
    ++used;
  }
  EXPECT_EQ(used, 2U);
}

TEST(Noise, RekeyIsOneWayAndKeepsTheNumber) {
  const auto make = [] { return CipherState{Secret<32>::copy_of(ByteArray<32>{1})}; };
  auto sender = make();
  auto receiver = make();
  static_cast<void>(receiver.decrypt({}, sender.encrypt({}, as_bytes("0"))));
  auto left_behind = make();
  static_cast<void>(left_behind.encrypt({}, {}));
  sender.rekey();
  receiver.rekey();
  EXPECT_EQ(sender.next_number(), 1U);
  const auto message = sender.encrypt({}, as_bytes("1"));
  EXPECT_FALSE(left_behind.decrypt({}, message).ok());
  EXPECT_EQ(as_text(receiver.decrypt({}, message).value().reveal()), "1");
}

TEST(Noise, FailedDecryptionCountsNothing) {
  auto sender = CipherState{Secret<32>::copy_of(ByteArray<32>{1})};
  auto receiver = CipherState{Secret<32>::copy_of(ByteArray<32>{1})};
  const auto message = sender.encrypt({}, as_bytes("x"));
  EXPECT_FALSE(receiver.decrypt({}, Bytes(20)).ok());
  EXPECT_TRUE(receiver.decrypt({}, message).ok());
}

}  // namespace
}  // namespace cloister::channel::noise
