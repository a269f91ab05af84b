// Checks docs/protocol/vectors/{jobs,challenge}.json against the code; writes them anew where CLOISTER_WRITE_VECTORS is set.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/protocol/challenge.hpp"
#include "cloister/protocol/job.hpp"
#include "cloister/protocol/report_data.hpp"
#include "support/support.hpp"

namespace cloister::protocol {
namespace {

namespace json = codec::json;

json::Value vectors() {
  test::SeededRandom random{1};
  const auto client = crypto::Secret<32>{ByteArray<32>{0x11}};
  const auto instance_key = crypto::X25519Key::from_private(crypto::Secret<32>{ByteArray<32>{0x22}});
  const auto version = *VersionId::parse("ver-example");
  const auto instance = *InstanceId::parse("inst-example");
  const auto payload = to_bytes("payload");
  const auto salt = ClientJobKeys::salt(client, "key-1", payload);
  const auto keys = ClientJobKeys::derive(client, salt);
  const auto request = seal_job(keys, version, "key-1", salt, payload, std::chrono::seconds{60});
  const auto recipient = seal_recipient(keys.content_key(), keys.job(), version, instance, instance_key.public_key(),
                                        request.input_commitment, crypto::sha256(request.ciphertext), random);
  Envelope envelope;
  envelope.job = keys.job();
  envelope.attempt = *AttemptId::parse("att-example");
  envelope.fence = 1;
  envelope.version = version;
  envelope.instance = instance;
  envelope.session = *SessionId::parse("ses-example");
  envelope.image_digest = crypto::sha256(to_bytes("image"));
  envelope.input_commitment = request.input_commitment;
  envelope.output_commitment = output_commitment(keys.commitment_key(), envelope.job, version, "ok", to_bytes("output"));
  envelope.status = "ok";
  envelope.started = from_micros(1'700'000'000'000'000);
  envelope.finished = from_micros(1'700'000'000'500'000);

  Configuration configuration;
  configuration.version = version;
  configuration.image_digest = envelope.image_digest;
  configuration.server_keys = {ByteArray<32>{0x33}};
  Preimage preimage;
  preimage.server_key_id = server_key_id(configuration.server_keys[0]);
  preimage.nonce = ByteArray<32>{0x44};
  preimage.handshake_hash = crypto::sha256(to_bytes("handshake"));
  preimage.instance = instance;
  preimage.keys = {{"payload", "x25519", to_bytes(ByteView{instance_key.public_key()})}, {"result", "ed25519", Bytes(32, 0x55)}};

  const auto hex = [](ByteView bytes) { return codec::to_hex(bytes); };
  return json::Object{
      {"client_secret", hex(client.reveal())},
      {"idempotency_key", "key-1"},
      {"payload", hex(payload)},
      {"salt", hex(salt)},
      {"job", keys.job().str()},
      {"content_key", hex(keys.content_key().reveal())},
      {"commitment_key", hex(keys.commitment_key().reveal())},
      {"reply_private_key", hex(keys.reply_key().private_key().reveal())},
      {"version", version.str()},
      {"input_commitment", hex(request.input_commitment)},
      {"commitment_key_digest", hex(request.commitment_key_digest)},
      {"ciphertext", hex(request.ciphertext)},
      {"request_hash", hex(request_hash(request))},
      {"instance", instance.str()},
      {"instance_private_key", hex(instance_key.private_key().reveal())},
      {"recipient_enc", hex(recipient->enc)},
      {"recipient_sealed_key", hex(recipient->sealed_key)},
      {"envelope", hex(encode(envelope))},
      {"configuration", hex(encode(configuration))},
      {"configuration_digest", hex(configuration_digest(encode(configuration)))},
      {"preimage", hex(encode(preimage))},
      {"report_data", hex(report_data(encode(preimage)))},
      {"channel_prologue", hex(channel_prologue(Role::instance))},
  };
}

/// One frame of each kind, length prefix included.
json::Value challenge_frames() {
  using namespace challenge;
  const auto secret = crypto::cleansed_copy(as_bytes("sesame"));
  const auto payload = crypto::cleansed_copy(as_bytes("payload"));
  const auto output = crypto::cleansed_copy(as_bytes("output"));
  const auto hex = [](const auto& message) { return codec::to_hex(frame(message)); };
  Start start;
  start.secrets.emplace_back("index-salt", secret);
  return json::Object{
      {"to_challenge", json::Object{{"start", hex(ToChallenge{std::move(start)})},
                                    {"job", hex(ToChallenge{Job{"job-example", payload}})},
                                    {"stop", hex(ToChallenge{Stop{}})}}},
      {"to_guest", json::Object{{"ready", hex(ToGuest{Ready{4}})},
                                {"failed", hex(ToGuest{Failed{"no index-salt"}})},
                                {"progress", hex(ToGuest{Progress{"job-example", 50}})},
                                {"log", hex(ToGuest{Log{"info", "text"}})},
                                {"result", hex(ToGuest{Result{"job-example", "ok", output}})}}},
  };
}

void expect_documented(const char* name, const json::Value& value) {
  const auto path = test::source_dir() / "docs/protocol/vectors" / name;
  const auto fresh = json::write_pretty(value) + "\n";
  if (std::getenv("CLOISTER_WRITE_VECTORS") != nullptr) std::ofstream{path} << fresh;
  EXPECT_EQ(test::read_text(path), fresh);
}

TEST(ProtocolVectors, AreThoseInTheDocumentation) {
  expect_documented("jobs.json", vectors());
  expect_documented("challenge.json", challenge_frames());
}

TEST(ProtocolVectors, FramesOfTheChallengeDecodeToWhatTheyWere) {
  const auto frames = json::parse(test::read_text(test::source_dir() / "docs/protocol/vectors/challenge.json"));
  ASSERT_TRUE(frames.ok());
  const auto body = [&](std::string_view direction, std::string_view kind) {
    auto bytes = codec::from_hex(*frames->find(direction)->find(kind)->as_string()).value();
    return Bytes(bytes.begin() + 4, bytes.end());
  };
  const auto job = challenge::decode_to_challenge(body("to_challenge", "job"));
  ASSERT_TRUE(job.ok());
  EXPECT_EQ(std::get<challenge::Job>(*job).job, "job-example");
  EXPECT_EQ(as_text(std::get<challenge::Job>(*job).payload), "payload");
  const auto result = challenge::decode_to_guest(body("to_guest", "result"));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(std::get<challenge::Result>(*result).status, "ok");
  EXPECT_EQ(as_text(std::get<challenge::Result>(*result).output), "output");
}

}  // namespace
}  // namespace cloister::protocol
