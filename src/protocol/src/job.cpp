#include "cloister/protocol/job.hpp"

#include "cbor_util.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::protocol {
namespace {

using codec::cbor::Reader;
using codec::cbor::Writer;
using crypto::Secret;

/// The content key encrypts one payload, ever, so its nonce can be constant.
constexpr crypto::Nonce kSingleUse{};

crypto::SecretBytes client_key(const Secret<32>& client_secret, const Digest32& salt, std::string_view use) {
  Writer info;
  info.array(2).text("cloister/client/1").text(use);
  return crypto::hkdf(salt, client_secret.reveal(), std::move(info).take(), 32);
}

/// "job-" and the first 26 base32 characters of 32 derived bytes, one character for the low five bits of each.
JobId job_id_from(ByteView derived) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  std::string text = "job-";
  for (std::size_t i = 0; i < 26; ++i) text += kAlphabet[derived[i] & 31U];
  auto id = JobId::parse(text);
  CLOISTER_ASSERT(id.ok());
  return *std::move(id);
}

Bytes payload_associated(const JobId& job, const VersionId& version, const Digest32& input_commitment) {
  Writer out;
  out.array(4).text("cloister/payload/1").text(job.str()).text(version.str()).bytes(input_commitment);
  return std::move(out).take();
}

Bytes recipient_info(const JobId& job, const VersionId& version, const InstanceId& instance,
                     const Digest32& input_commitment, const Digest32& ciphertext_digest) {
  Writer out;
  out.array(6).text("cloister/recipient/1").text(job.str()).text(version.str()).text(instance.str());
  out.bytes(input_commitment).bytes(ciphertext_digest);
  return std::move(out).take();
}

/// CBOR [reply key, C, payload], which is secret.
crypto::SecretBytes plaintext_of(const ClientJobKeys& keys, ByteView payload) {
  Writer head;
  head.array(3).bytes(keys.reply_key().public_key()).bytes(keys.commitment_key().reveal()).bytes(payload);
  auto encoded = std::move(head).take();
  auto out = crypto::SecretBytes::copy_of(encoded);
  crypto::cleanse(encoded);
  return out;
}

}  // namespace

Digest32 ClientJobKeys::salt(const Secret<32>& client_secret, std::string_view idempotency_key, ByteView payload) {
  Writer out;
  out.array(3).text("cloister/salt/1").text(idempotency_key).bytes(crypto::sha256(payload));
  return crypto::hmac_sha256(client_secret.reveal(), std::move(out).take());
}

ClientJobKeys ClientJobKeys::derive(const Secret<32>& client_secret, const Digest32& salt) {
  const auto key = [&](std::string_view use) {
    const auto bytes = client_key(client_secret, salt, use);
    return Secret<32>::copy_of(bytes.reveal());
  };
  const auto job = client_key(client_secret, salt, "job");
  return ClientJobKeys{job_id_from(job.reveal()), key("content"), key("commitment"),
                       crypto::X25519Key::from_private(key("reply"))};
}

Digest32 input_commitment(const Secret<32>& commitment_key, const JobId& job, const VersionId& version,
                          const crypto::X25519Public& reply_key, ByteView payload) {
  Writer out;
  out.array(5).text("cloister/in/1").text(job.str()).text(version.str()).bytes(reply_key).bytes(payload);
  auto message = std::move(out).take();
  const auto commitment = crypto::hmac_sha256(commitment_key.reveal(), message);
  crypto::cleanse(message);
  return commitment;
}

Digest32 output_commitment(const Secret<32>& commitment_key, const JobId& job, const VersionId& version,
                           std::string_view status, ByteView output) {
  Writer out;
  out.array(5).text("cloister/out/1").text(job.str()).text(version.str()).text(status).bytes(output);
  auto message = std::move(out).take();
  const auto commitment = crypto::hmac_sha256(commitment_key.reveal(), message);
  crypto::cleanse(message);
  return commitment;
}

Digest32 commitment_key_digest(const Secret<32>& commitment_key) {
  Writer out;
  out.array(2).text("cloister/commitment-key/1").bytes(commitment_key.reveal());
  auto message = std::move(out).take();
  const auto digest = crypto::sha256(message);
  crypto::cleanse(message);
  return digest;
}

Digest32 request_hash(const model::JobRequest& request) {
  Writer out;
  out.array(7).text("cloister/request/1").text(request.job.str()).text(request.version.str());
  out.bytes(request.input_commitment).bytes(request.commitment_key_digest).bytes(crypto::sha256(request.ciphertext));
  out.uint(static_cast<std::uint64_t>(request.deadline.count()));
  return crypto::sha256(std::move(out).take());
}

Bytes encode_job_record(const model::Job& job, const ChallengeId& challenge) {
  Writer out;
  out.array(12).text("cloister/job/1").text(job.id.str()).text(job.tenant.str()).text(job.version.str());
  out.text(challenge.str()).bytes(job.request_hash).bytes(job.salt).bytes(job.input_commitment);
  out.bytes(job.commitment_key_digest).bytes(job.ciphertext_digest);
  out.integer(to_micros(job.submitted)).integer(to_micros(job.deadline));
  return std::move(out).take();
}

model::JobRequest seal_job(const ClientJobKeys& keys, const VersionId& version, std::string_view idempotency_key,
                           const Digest32& salt, ByteView payload, std::chrono::seconds deadline) {
  model::JobRequest request;
  request.job = keys.job();
  request.version = version;
  request.idempotency_key = idempotency_key;
  request.salt = salt;
  request.input_commitment =
      input_commitment(keys.commitment_key(), keys.job(), version, keys.reply_key().public_key(), payload);
  request.commitment_key_digest = commitment_key_digest(keys.commitment_key());
  const auto plaintext = plaintext_of(keys, payload);
  request.ciphertext = crypto::chacha20poly1305_seal(keys.content_key().reveal(), kSingleUse,
                                                     payload_associated(keys.job(), version, request.input_commitment),
                                                     plaintext.reveal());
  request.deadline = deadline;
  return request;
}

Result<model::Recipient> seal_recipient(const Secret<32>& content_key, const JobId& job, const VersionId& version,
                                        const InstanceId& instance, const crypto::X25519Public& payload_key,
                                        const Digest32& input_commitment, const Digest32& ciphertext_digest,
                                        Random& random) {
  const auto info = recipient_info(job, version, instance, input_commitment, ciphertext_digest);
  CLOISTER_TRY(sealed, crypto::hpke_seal(payload_key, info, {}, content_key.reveal(), random));
  return model::Recipient{instance, sealed.enc, std::move(sealed.ciphertext)};
}

Result<OpenedJob> open_job(const crypto::X25519Key& payload_key, const JobId& job, const VersionId& version,
                           const InstanceId& instance, const Digest32& input_commitment, ByteView ciphertext,
                           const ByteArray<32>& enc, ByteView sealed_key) {
  const auto info = recipient_info(job, version, instance, input_commitment, crypto::sha256(ciphertext));
  CLOISTER_TRY(content_key, crypto::hpke_open(payload_key, enc, info, {}, sealed_key));
  if (content_key.size() != 32) return Error{Errc::malformed, "the content key has 32 bytes"};
  CLOISTER_TRY(plaintext, crypto::chacha20poly1305_open(content_key.reveal(), kSingleUse,
                                                        payload_associated(job, version, input_commitment), ciphertext));
  Reader in{plaintext.reveal()};
  in.array(3);
  const auto reply_key = in.bytes<32>();
  auto commitment_key = Secret<32>{in.bytes<32>()};
  const auto payload = in.bytes();
  CLOISTER_CHECK(in.finish());
  const auto expected = protocol::input_commitment(commitment_key, job, version, reply_key, payload);
  if (!crypto::equal(expected, input_commitment)) {
    return Error{Errc::input_commitment_mismatch, "the payload is not the one that was committed to"};
  }
  return OpenedJob{reply_key, std::move(commitment_key), crypto::SecretBytes::copy_of(payload)};
}

// Keys of the map in RFC 8949 section 4.2.1 order: by length of the encoded key, then bytewise.
Bytes encode(const Envelope& e) {
  Writer out;
  out.array(2).text("cloister/envelope/1").map(13);
  out.text("job").text(e.job.str());
  out.text("fence").uint(e.fence);
  out.text("status").text(e.status);
  out.text("attempt").text(e.attempt.str());
  out.text("session").text(e.session.str());
  out.text("started").integer(to_micros(e.started));
  out.text("version").text(e.version.str());
  out.text("finished").integer(to_micros(e.finished));
  out.text("instance").text(e.instance.str());
  out.text("image_digest").bytes(e.image_digest);
  out.text("input_commitment").bytes(e.input_commitment);
  out.text("output_commitment").bytes(e.output_commitment);
  out.text("sealed_output_digest").bytes(e.sealed_output_digest);
  return std::move(out).take();
}

Result<Envelope> decode_envelope(ByteView bytes) {
  Reader in{bytes};
  Envelope e;
  in.array(2);
  in.domain("cloister/envelope/1");
  in.map(13);
  in.key("job");
  e.job = detail::id<JobId>(in);
  in.key("fence");
  e.fence = in.uint();
  in.key("status");
  e.status = detail::short_text(in, 8);
  in.key("attempt");
  e.attempt = detail::id<AttemptId>(in);
  in.key("session");
  e.session = detail::id<SessionId>(in);
  in.key("started");
  e.started = from_micros(in.integer());
  in.key("version");
  e.version = detail::id<VersionId>(in);
  in.key("finished");
  e.finished = from_micros(in.integer());
  in.key("instance");
  e.instance = detail::id<InstanceId>(in);
  in.key("image_digest");
  e.image_digest = in.bytes<32>();
  in.key("input_commitment");
  e.input_commitment = in.bytes<32>();
  in.key("output_commitment");
  e.output_commitment = in.bytes<32>();
  in.key("sealed_output_digest");
  e.sealed_output_digest = in.bytes<32>();
  CLOISTER_CHECK(in.finish());
  if (e.status != "ok" && e.status != "error") return Error{Errc::malformed, "status 'ok' or 'error' expected"};
  if (e.finished < e.started) return Error{Errc::malformed, "finished before it started"};
  return e;
}

Digest32 sealed_output_digest(const ByteArray<32>& enc, ByteView sealed_output) {
  return crypto::sha256({ByteView{enc}, sealed_output});
}

Bytes result_info(const JobId& job, const AttemptId& attempt, std::uint64_t fence, const Digest32& input_commitment) {
  Writer out;
  out.array(5).text("cloister/result/1").text(job.str()).text(attempt.str()).uint(fence).bytes(input_commitment);
  return std::move(out).take();
}

Result<crypto::HpkeSealed> seal_output(const crypto::X25519Public& reply_key, const Envelope& envelope,
                                       ByteView output, Random& random) {
  const auto info = result_info(envelope.job, envelope.attempt, envelope.fence, envelope.input_commitment);
  return crypto::hpke_seal(reply_key, info, {}, output, random);
}

Result<crypto::SecretBytes> open_output(const ClientJobKeys& keys, const Envelope& envelope,
                                        const model::JobResult& result) {
  if (envelope.job != keys.job() || envelope.job != result.job || envelope.attempt != result.attempt) {
    return Error{Errc::output_commitment_mismatch, "the envelope is of another job or attempt"};
  }
  if (sealed_output_digest(result.enc, result.sealed_output) != envelope.sealed_output_digest) {
    return Error{Errc::output_commitment_mismatch, "the sealed output is not the one in the envelope"};
  }
  const auto info = result_info(envelope.job, envelope.attempt, envelope.fence, envelope.input_commitment);
  CLOISTER_TRY(output, crypto::hpke_open(keys.reply_key(), result.enc, info, {}, result.sealed_output));
  const auto commitment =
      output_commitment(keys.commitment_key(), envelope.job, envelope.version, envelope.status, output.reveal());
  if (!crypto::equal(commitment, envelope.output_commitment)) {
    return Error{Errc::output_commitment_mismatch, "the output is not the one that was committed to"};
  }
  return output;
}

}  // namespace cloister::protocol
