#include "cloister/protocol/messages.hpp"

#include "cbor_util.hpp"

namespace cloister::protocol {
namespace {

using codec::cbor::Reader;
using codec::cbor::Writer;

constexpr std::string_view kDomain = "cloister/msg/1";
constexpr std::size_t kMaxText = 512;
constexpr std::size_t kMaxSecrets = 64;
constexpr std::size_t kMaxKeys = 128;
constexpr std::uint64_t kMaxSlots = 64;

/// The head of a message with `fields` members after its kind.
void begin(Writer& out, std::string_view kind, std::size_t fields) { out.array(2 + fields).text(kDomain).text(kind); }

void write(Writer& out, const Challenge& m) {
  begin(out, "challenge", 3);
  out.bytes(m.nonce);
  if (m.instance) out.text(m.instance->str());
  else out.null();
  detail::optional_bytes(out, m.hotkey);
}

void write(Writer& out, const Accepted& m) {
  begin(out, "accepted", 2);
  out.text(m.session.str()).integer(to_micros(m.expires));
}

void write(Writer& out, const Refused& m) {
  begin(out, "refused", 2);
  out.text(m.code).text(m.detail);
}

void write(Writer& out, const Release& m) {
  begin(out, "release", m.keys.empty() ? 1 : 2);
  out.array(m.secrets.size());
  for (const auto& secret : m.secrets) {
    out.array(5).text(secret.name).text(secret.path).uint(secret.version).bytes(secret.enc).bytes(secret.ciphertext);
  }
  if (m.keys.empty()) return;
  out.array(m.keys.size());
  for (const auto& key : m.keys) {
    out.array(4).text(key.purpose).uint(key.version).bytes(key.enc).bytes(key.ciphertext);
  }
}

void write(Writer& out, const AssignJob& m) {
  begin(out, "job", 9);
  out.text(m.job.str()).text(m.attempt.str()).uint(m.fence).text(m.version.str()).bytes(m.input_commitment);
  out.bytes(m.enc).bytes(m.sealed_key).bytes(m.ciphertext).uint(m.timeout_ms);
}

void write(Writer& out, const CancelJob& m) {
  begin(out, "cancel", 1);
  out.text(m.attempt.str());
}

void write(Writer& out, const ResultAccepted& m) {
  begin(out, "result-accepted", 1);
  out.text(m.attempt.str());
}

void write(Writer& out, const ResultRefused& m) {
  begin(out, "result-refused", 2);
  out.text(m.attempt.str()).text(m.code);
}

void write(Writer& out, const ShownServer& m) {
  begin(out, "server", 4);
  out.bytes(m.proof.evidence).bytes(m.proof.event_log).bytes(m.proof.preimage).bytes(as_bytes(m.proof.collateral));
}

void write(Writer& out, const Attest& m) {
  begin(out, "attest", 4);
  out.bytes(m.evidence).bytes(m.event_log).bytes(m.configuration).bytes(m.preimage);
}

void write(Writer& out, const Ready& m) {
  begin(out, "ready", 1);
  out.uint(m.slots);
}

void write(Writer& out, const Failed& m) {
  begin(out, "failed", 2);
  out.text(m.code).text(m.detail);
}

void write(Writer& out, const Heartbeat& m) {
  begin(out, "heartbeat", 3);
  out.text(m.attempt.str()).uint(m.fence).uint(m.percent);
}

void write(Writer& out, const AttemptFailed& m) {
  begin(out, "attempt-failed", 3);
  out.text(m.attempt.str()).uint(m.fence).text(m.code);
}

void write(Writer& out, const SubmitResult& m) {
  begin(out, "result", 5);
  out.text(m.attempt.str()).bytes(m.envelope).bytes(m.signature).bytes(m.enc).bytes(m.sealed_output);
}

void write(Writer& out, const Demand& m) {
  begin(out, "demand", 1);
  out.bytes(m.nonce);
}

/// Reads domain and kind, and gives the number of members that follow.
struct Opening {
  std::string_view kind;
  std::size_t fields = 0;
};
Opening open(Reader& in) {
  const auto count = in.array_up_to(16);
  if (!in.failed() && count < 2) in.fail(Errc::malformed, "a message has a domain and a kind");
  in.domain(kDomain);
  return {in.text(), count < 2 ? 0 : count - 2};
}

void expect(Reader& in, const Opening& opening, std::size_t fields) {
  if (!in.failed() && opening.fields != fields) {
    in.fail(Errc::malformed, "'" + std::string{opening.kind} + "' has " + std::to_string(fields) + " members, got " +
                                 std::to_string(opening.fields));
  }
}

Challenge read_challenge(Reader& in) {
  Challenge m;
  m.nonce = in.bytes<32>();
  m.instance = detail::optional_id<InstanceId>(in);
  m.hotkey = detail::optional_bytes<32>(in);
  return m;
}

Release read_release(Reader& in, bool with_keys) {
  Release m;
  const auto count = in.array_up_to(kMaxSecrets);
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    in.array(5);
    SealedSecret secret;
    secret.name = detail::short_text(in, kMaxText);
    secret.path = detail::short_text(in, kMaxText);
    secret.version = in.uint();
    secret.enc = in.bytes<32>();
    secret.ciphertext = to_bytes(in.bytes());
    m.secrets.push_back(std::move(secret));
  }
  if (!with_keys) return m;
  const auto keys = in.array_up_to(kMaxKeys);
  if (!in.failed() && keys == 0) in.fail(Errc::not_canonical, "a list of no derived keys is left out");
  for (std::size_t i = 0; i < keys && !in.failed(); ++i) {
    in.array(4);
    SealedKey key;
    key.purpose = detail::short_text(in, kMaxText);
    key.version = in.uint();
    key.enc = in.bytes<32>();
    key.ciphertext = to_bytes(in.bytes());
    m.keys.push_back(std::move(key));
  }
  return m;
}

AssignJob read_job(Reader& in) {
  AssignJob m;
  m.job = detail::id<JobId>(in);
  m.attempt = detail::id<AttemptId>(in);
  m.fence = in.uint();
  m.version = detail::id<VersionId>(in);
  m.input_commitment = in.bytes<32>();
  m.enc = in.bytes<32>();
  m.sealed_key = to_bytes(in.bytes());
  m.ciphertext = to_bytes(in.bytes());
  m.timeout_ms = static_cast<std::uint32_t>(detail::bounded(in, 1, UINT32_MAX));
  return m;
}

/// A part of a server's evidence.
ByteView part_of_proof(Reader& in) {
  const auto bytes = in.bytes();
  if (bytes.size() > kMaxServerProof) in.fail(Errc::limit_exceeded, "at most 1 MiB of each part of a server's evidence expected");
  return bytes;
}

ShownServer read_shown_server(Reader& in) {
  ShownServer m;
  m.proof.evidence = to_bytes(part_of_proof(in));
  m.proof.event_log = to_bytes(part_of_proof(in));
  m.proof.preimage = to_bytes(part_of_proof(in));
  m.proof.collateral = as_text(part_of_proof(in));
  return m;
}

SubmitResult read_result(Reader& in) {
  SubmitResult m;
  m.attempt = detail::id<AttemptId>(in);
  m.envelope = to_bytes(in.bytes());
  m.signature = in.bytes<64>();
  m.enc = in.bytes<32>();
  m.sealed_output = to_bytes(in.bytes());
  return m;
}

}  // namespace

Bytes encode(const ToTd& message) {
  Writer out;
  std::visit([&](const auto& m) { write(out, m); }, message);
  return std::move(out).take();
}

Bytes encode(const ToServer& message) {
  Writer out;
  std::visit([&](const auto& m) { write(out, m); }, message);
  return std::move(out).take();
}

Result<ToTd> decode_to_td(ByteView bytes) {
  Reader in{bytes};
  const auto opening = open(in);
  ToTd message;
  if (opening.kind == "challenge") {
    expect(in, opening, 3);
    message = read_challenge(in);
  } else if (opening.kind == "accepted") {
    expect(in, opening, 2);
    Accepted m;
    m.session = detail::id<SessionId>(in);
    m.expires = from_micros(in.integer());
    message = std::move(m);
  } else if (opening.kind == "refused") {
    expect(in, opening, 2);
    Refused m;
    m.code = detail::short_text(in, kMaxText);
    m.detail = detail::short_text(in, kMaxText);
    message = std::move(m);
  } else if (opening.kind == "release") {
    if (opening.fields != 2) expect(in, opening, 1);
    message = read_release(in, opening.fields == 2);
  } else if (opening.kind == "job") {
    expect(in, opening, 9);
    message = read_job(in);
  } else if (opening.kind == "cancel") {
    expect(in, opening, 1);
    message = CancelJob{detail::id<AttemptId>(in)};
  } else if (opening.kind == "result-accepted") {
    expect(in, opening, 1);
    message = ResultAccepted{detail::id<AttemptId>(in)};
  } else if (opening.kind == "result-refused") {
    expect(in, opening, 2);
    ResultRefused m;
    m.attempt = detail::id<AttemptId>(in);
    m.code = detail::short_text(in, kMaxText);
    message = std::move(m);
  } else if (opening.kind == "server") {
    expect(in, opening, 4);
    message = read_shown_server(in);
  } else if (!in.failed()) {
    in.fail(Errc::unsupported, "no such message for a TD");
  }
  CLOISTER_CHECK(in.finish());
  return message;
}

Result<ToServer> decode_to_server(ByteView bytes) {
  Reader in{bytes};
  const auto opening = open(in);
  ToServer message;
  if (opening.kind == "attest") {
    expect(in, opening, 4);
    Attest m;
    m.evidence = to_bytes(in.bytes());
    m.event_log = to_bytes(in.bytes());
    m.configuration = to_bytes(in.bytes());
    m.preimage = to_bytes(in.bytes());
    message = std::move(m);
  } else if (opening.kind == "ready") {
    expect(in, opening, 1);
    message = Ready{static_cast<std::uint32_t>(detail::bounded(in, 1, kMaxSlots))};
  } else if (opening.kind == "failed") {
    expect(in, opening, 2);
    Failed m;
    m.code = detail::short_text(in, kMaxText);
    m.detail = detail::short_text(in, kMaxText);
    message = std::move(m);
  } else if (opening.kind == "heartbeat") {
    expect(in, opening, 3);
    Heartbeat m;
    m.attempt = detail::id<AttemptId>(in);
    m.fence = in.uint();
    m.percent = static_cast<std::uint8_t>(detail::bounded(in, 0, 100));
    message = std::move(m);
  } else if (opening.kind == "attempt-failed") {
    expect(in, opening, 3);
    AttemptFailed m;
    m.attempt = detail::id<AttemptId>(in);
    m.fence = in.uint();
    m.code = detail::short_text(in, kMaxText);
    message = std::move(m);
  } else if (opening.kind == "result") {
    expect(in, opening, 5);
    message = read_result(in);
  } else if (opening.kind == "demand") {
    expect(in, opening, 1);
    message = Demand{in.bytes<32>()};
  } else if (!in.failed()) {
    in.fail(Errc::unsupported, "no such message for a server");
  }
  CLOISTER_CHECK(in.finish());
  return message;
}

Bytes release_info(const SessionId& session, std::string_view path, std::uint64_t version) {
  Writer out;
  out.array(4).text("cloister/release/1").text(session.str()).text(path).uint(version);
  return std::move(out).take();
}

Bytes key_release_info(const SessionId& session, std::string_view purpose, std::uint64_t version) {
  Writer out;
  out.array(4).text("cloister/release-key/1").text(session.str()).text(purpose).uint(version);
  return std::move(out).take();
}

}  // namespace cloister::protocol
