#include "cloister/protocol/challenge.hpp"

#include "cbor_util.hpp"

namespace cloister::protocol::challenge {
namespace {

using codec::cbor::Reader;
using codec::cbor::Writer;

constexpr std::string_view kDomain = "cloister/challenge/1";
constexpr std::size_t kMaxSecrets = 192;  // derived keys among them
constexpr std::size_t kMaxLogText = 4096;
constexpr std::size_t kMaxIdText = 64;

void write(Writer& out, const Start& m) {
  constexpr std::size_t kHeads = 16;  // at most, of a pair and its members
  std::size_t size = 64;
  for (const auto& [name, value] : m.secrets) size += kHeads + name.size() + value.size();
  out.reserve(size).array(3).text(kDomain).text("start").array(m.secrets.size());
  for (const auto& [name, value] : m.secrets) out.array(2).text(name).bytes(value);
}
void write(Writer& out, const Job& m) { out.array(4).text(kDomain).text("job").text(m.job).bytes(m.payload); }
void write(Writer& out, const Stop&) { out.array(2).text(kDomain).text("stop"); }
void write(Writer& out, const Ready& m) { out.array(3).text(kDomain).text("ready").uint(m.slots); }
void write(Writer& out, const Progress& m) {
  out.array(4).text(kDomain).text("progress").text(m.job).uint(m.percent);
}
void write(Writer& out, const Log& m) { out.array(4).text(kDomain).text("log").text(m.level).text(m.text); }
void write(Writer& out, const Result& m) {
  out.array(5).text(kDomain).text("result").text(m.job).text(m.status).bytes(m.output);
}
void write(Writer& out, const Failed& m) { out.array(3).text(kDomain).text("failed").text(m.detail); }

template <class Message>
crypto::CleansedBytes framed(const Message& message) {
  Writer body;
  std::visit([&](const auto& m) { write(body, m); }, message);
  auto bytes = body.take();
  CLOISTER_ASSERT(bytes.size() <= kMaxFrame);
  codec::Writer prefix;
  prefix.u32be(static_cast<std::uint32_t>(bytes.size()));
  crypto::CleansedBytes out;
  out.reserve(prefix.size() + bytes.size());
  out.insert(out.end(), prefix.bytes().begin(), prefix.bytes().end());
  out.insert(out.end(), bytes.begin(), bytes.end());
  crypto::cleanse(bytes);
  return out;
}

/// Reads the head, domain and kind; the kind decides how many members follow, which `expect` checks.
struct Opening {
  std::string_view kind;
  std::size_t fields = 0;
};
Opening open(Reader& in) {
  const auto count = in.array_up_to(8);
  if (!in.failed() && count < 2) in.fail(Errc::malformed, "a message has a domain and a kind");
  in.domain(kDomain);
  return {in.text(), count < 2 ? 0 : count - 2};
}
void expect(Reader& in, const Opening& opening, std::size_t fields) {
  if (!in.failed() && opening.fields != fields) in.fail(Errc::malformed, "a member too many or too few");
}

}  // namespace

crypto::CleansedBytes frame(const ToChallenge& message) { return framed(message); }
crypto::CleansedBytes frame(const ToGuest& message) { return framed(message); }

cloister::Result<ToChallenge> decode_to_challenge(ByteView bytes) {
  Reader in{bytes};
  const auto opening = open(in);
  ToChallenge message;
  if (opening.kind == "start") {
    expect(in, opening, 1);
    Start m;
    const auto count = in.array_up_to(kMaxSecrets);
    for (std::size_t i = 0; i < count && !in.failed(); ++i) {
      in.array(2);
      auto name = detail::short_text(in, kMaxIdText);
      m.secrets.emplace_back(std::move(name), crypto::cleansed_copy(in.bytes()));
    }
    message = std::move(m);
  } else if (opening.kind == "job") {
    expect(in, opening, 2);
    Job m;
    m.job = detail::short_text(in, kMaxIdText);
    m.payload = crypto::cleansed_copy(in.bytes());
    message = std::move(m);
  } else if (opening.kind == "stop") {
    expect(in, opening, 0);
    message = Stop{};
  } else if (!in.failed()) {
    in.fail(Errc::unsupported, "no such message for a challenge");
  }
  CLOISTER_CHECK(in.finish());
  return message;
}

cloister::Result<ToGuest> decode_to_guest(ByteView bytes) {
  Reader in{bytes};
  const auto opening = open(in);
  ToGuest message;
  if (opening.kind == "ready") {
    expect(in, opening, 1);
    message = Ready{static_cast<std::uint32_t>(detail::bounded(in, 1, 64))};
  } else if (opening.kind == "progress") {
    expect(in, opening, 2);
    Progress m;
    m.job = detail::short_text(in, kMaxIdText);
    m.percent = static_cast<std::uint8_t>(detail::bounded(in, 0, 100));
    message = std::move(m);
  } else if (opening.kind == "log") {
    expect(in, opening, 2);
    Log m;
    m.level = detail::short_text(in, 8);
    m.text = detail::short_text(in, kMaxLogText);
    message = std::move(m);
  } else if (opening.kind == "result") {
    expect(in, opening, 3);
    Result m;
    m.job = detail::short_text(in, kMaxIdText);
    m.status = detail::short_text(in, 8);
    m.output = crypto::cleansed_copy(in.bytes());
    if (m.output.size() > kMaxOutput) in.fail(Errc::limit_exceeded, "an output of at most 64 MiB expected");
    if (!in.failed() && m.status != "ok" && m.status != "error") in.fail(Errc::malformed, "status 'ok' or 'error' expected");
    message = std::move(m);
  } else if (opening.kind == "failed") {
    expect(in, opening, 1);
    message = Failed{detail::short_text(in, kMaxLogText)};
  } else if (!in.failed()) {
    in.fail(Errc::unsupported, "no such message for a guest");
  }
  CLOISTER_CHECK(in.finish());
  return message;
}

cloister::Result<std::optional<crypto::CleansedBytes>> Deframer::next() {
  codec::Reader in{buffer_};
  const auto size = in.u32be();
  if (!size) return std::optional<crypto::CleansedBytes>{};
  if (*size > kMaxFrame) return Error{Errc::limit_exceeded, "a frame of at most 80 MiB expected"};
  const auto body = in.take(*size);
  if (!body) return std::optional<crypto::CleansedBytes>{};
  std::optional out{crypto::cleansed_copy(*body)};
  buffer_ = crypto::cleansed_copy(in.rest());
  return out;
}

}  // namespace cloister::protocol::challenge
