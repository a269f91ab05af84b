#include "cloister/protocol/job.hpp"

#include <gtest/gtest.h>

#include "cloister/crypto/aead.hpp"
#include "cloister/codec/cbor.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"

namespace cloister::protocol {
namespace {

const VersionId kVersion = *VersionId::parse("ver-a");
const InstanceId kInstance = *InstanceId::parse("inst-a");

/// A client, an instance, and one job between them.
struct Scene {
  test::SeededRandom random{7};
  crypto::Secret<32> client = crypto::Secret<32>::random(random);
  crypto::X25519Key payload_key = crypto::X25519Key::generate(random);
  Bytes payload = to_bytes("the payload");
  Digest32 salt = ClientJobKeys::salt(client, "retry-1", payload);
  ClientJobKeys keys = ClientJobKeys::derive(client, salt);
  model::JobRequest request = seal_job(keys, kVersion, "retry-1", salt, payload, std::chrono::seconds{60});
  model::Recipient recipient =
      *seal_recipient(keys.content_key(), keys.job(), kVersion, kInstance, payload_key.public_key(),
                      request.input_commitment, crypto::sha256(request.ciphertext), random);

  [[nodiscard]] Result<OpenedJob> open() const {
    return open_job(payload_key, request.job, request.version, recipient.instance, request.input_commitment,
                    request.ciphertext, recipient.enc, recipient.sealed_key);
  }

  [[nodiscard]] Envelope envelope(ByteView output) const {
    Envelope e;
    e.job = keys.job();
    e.attempt = *AttemptId::parse("att-a");
    e.fence = 1;
    e.version = kVersion;
    e.instance = kInstance;
    e.session = *SessionId::parse("ses-a");
    e.input_commitment = request.input_commitment;
    e.output_commitment = output_commitment(keys.commitment_key(), e.job, e.version, "ok", output);
    e.status = "ok";
    return e;
  }

  [[nodiscard]] model::JobResult result(Envelope& e, ByteView output) {
    auto sealed = *seal_output(keys.reply_key().public_key(), e, output, random);
    e.sealed_output_digest = sealed_output_digest(sealed.enc, sealed.ciphertext);
    model::JobResult r;
    r.job = e.job;
    r.attempt = e.attempt;
    r.enc = sealed.enc;
    r.sealed_output = std::move(sealed.ciphertext);
    return r;
  }
};

TEST(SealedJob, OpensForItsRecipient) {
  Scene s;
  auto opened = s.open();
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_EQ(as_text(opened->payload.reveal()), "the payload");
  EXPECT_EQ(opened->reply_key, s.keys.reply_key().public_key());
  EXPECT_TRUE(crypto::equal(opened->commitment_key.reveal(), s.keys.commitment_key().reveal()));
}

TEST(SealedJob, IsTheSameJobOnARetry) {
  Scene s;
  const auto again = ClientJobKeys::derive(s.client, s.salt);
  EXPECT_EQ(again.job(), s.keys.job());
  const auto resealed = seal_job(again, kVersion, "retry-1", s.salt, s.payload, std::chrono::seconds{60});
  EXPECT_EQ(request_hash(resealed), request_hash(s.request));
  EXPECT_NE(ClientJobKeys::salt(s.client, "retry-2", s.payload), s.salt);
  EXPECT_NE(ClientJobKeys::salt(s.client, "retry-1", to_bytes("other")), s.salt);
}

TEST(SealedJob, RequestHashCoversEverythingButRecipients) {
  Scene s;
  const auto hash = request_hash(s.request);
  auto changed = s.request;
  changed.recipients.push_back(s.recipient);
  EXPECT_EQ(request_hash(changed), hash);
  changed = s.request;
  changed.ciphertext[0] ^= 1;
  EXPECT_NE(request_hash(changed), hash);
  changed = s.request;
  changed.deadline += std::chrono::seconds{1};
  EXPECT_NE(request_hash(changed), hash);
  changed = s.request;
  changed.input_commitment[0] ^= 1;
  EXPECT_NE(request_hash(changed), hash);
}

TEST(SealedJob, RefusesAnyChange) {
  const auto refused = [](auto change) {
    Scene s;
    change(s);
    auto opened = s.open();
    return !opened;
  };
  EXPECT_TRUE(refused([](Scene& s) { s.request.ciphertext.back() ^= 1; }));
  EXPECT_TRUE(refused([](Scene& s) { s.request.version = *VersionId::parse("ver-b"); }));
  EXPECT_TRUE(refused([](Scene& s) { s.request.job = *JobId::parse("job-b"); }));
  EXPECT_TRUE(refused([](Scene& s) { s.request.input_commitment[3] ^= 1; }));
  EXPECT_TRUE(refused([](Scene& s) { s.recipient.instance = *InstanceId::parse("inst-b"); }));
  EXPECT_TRUE(refused([](Scene& s) { s.recipient.enc[0] ^= 1; }));
  EXPECT_TRUE(refused([](Scene& s) { s.recipient.sealed_key[0] ^= 1; }));
}

TEST(SealedJob, RefusesAPayloadThatDoesNotMatchItsCommitment) {
  // A client that encrypts one payload and commits to another: everything opens, the commitment does not hold.
  Scene s;
  codec::cbor::Writer plain;
  plain.array(3).bytes(s.keys.reply_key().public_key()).bytes(s.keys.commitment_key().reveal()).bytes(to_bytes("swapped"));
  codec::cbor::Writer associated;
  associated.array(4).text("cloister/payload/1").text(s.request.job.str()).text(kVersion.str());
  associated.bytes(s.request.input_commitment);
  s.request.ciphertext = crypto::chacha20poly1305_seal(s.keys.content_key().reveal(), {}, std::move(associated).take(),
                                                       std::move(plain).take());
  s.recipient = *seal_recipient(s.keys.content_key(), s.request.job, kVersion, kInstance, s.payload_key.public_key(),
                                s.request.input_commitment, crypto::sha256(s.request.ciphertext), s.random);
  auto opened = s.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Errc::input_commitment_mismatch);
}

TEST(SealedOutput, OpensForTheClient) {
  Scene s;
  const auto output = to_bytes("42");
  auto envelope = s.envelope(output);
  const auto result = s.result(envelope, output);
  auto opened = open_output(s.keys, envelope, result);
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_EQ(as_text(opened->reveal()), "42");
}

TEST(SealedOutput, RefusesAnyChange) {
  const auto output = to_bytes("42");
  const auto code = [&](auto change) {
    Scene s;
    auto envelope = s.envelope(output);
    auto result = s.result(envelope, output);
    change(envelope, result);
    auto opened = open_output(s.keys, envelope, result);
    return opened ? Errc::internal : opened.error().code();
  };
  using R = model::JobResult;
  EXPECT_EQ(code([](Envelope&, R& r) { r.sealed_output[0] ^= 1; }), Errc::output_commitment_mismatch);
  EXPECT_EQ(code([](Envelope& e, R& r) {
              r.sealed_output[0] ^= 1;
              e.sealed_output_digest = sealed_output_digest(r.enc, r.sealed_output);
            }),
            Errc::decryption_failed);
  EXPECT_EQ(code([](Envelope& e, R&) { e.fence = 2; }), Errc::decryption_failed);
  EXPECT_EQ(code([](Envelope& e, R&) { e.status = "error"; }), Errc::output_commitment_mismatch);
  EXPECT_EQ(code([](Envelope& e, R&) { e.output_commitment[0] ^= 1; }), Errc::output_commitment_mismatch);
  EXPECT_EQ(code([](Envelope& e, R&) { e.job = *JobId::parse("job-b"); }), Errc::output_commitment_mismatch);
  EXPECT_EQ(code([](Envelope&, R& r) { r.attempt = *AttemptId::parse("att-b"); }), Errc::output_commitment_mismatch);
}

TEST(Envelope, RoundTripsAndRefusesNonsense) {
  Scene s;
  const auto envelope = s.envelope(to_bytes("x"));
  auto decoded = decode_envelope(encode(envelope));
  ASSERT_TRUE(decoded) << decoded.error().text();
  EXPECT_EQ(*decoded, envelope);
  auto odd = envelope;
  odd.status = "maybe";
  EXPECT_FALSE(decode_envelope(encode(odd)));
  odd = envelope;
  odd.started = odd.finished + std::chrono::microseconds{1};
  EXPECT_FALSE(decode_envelope(encode(odd)));
  auto bytes = encode(envelope);
  bytes.push_back(0);
  EXPECT_EQ(decode_envelope(bytes).error().code(), Errc::trailing_bytes);
  bytes = encode(envelope);
  bytes.pop_back();
  EXPECT_FALSE(decode_envelope(bytes));
}

}  // namespace
}  // namespace cloister::protocol
