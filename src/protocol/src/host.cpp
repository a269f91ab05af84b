#include "cloister/protocol/host.hpp"

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::protocol::host {
namespace {

namespace json = codec::json;
using json::Fields;
using json::Object;
using json::Value;

constexpr std::size_t kMaxBlobs = 130;
constexpr std::size_t kMaxRunning = 1024;
constexpr std::size_t kMaxText = 512;
const json::Limits kLimits{.bytes = 256 * 1024, .depth = 4, .values = 2048};

Value write(const Hello& m) {
  return Object{{"type", "hello"}, {"server_id", m.server_id}, {"nonce", codec::to_hex(m.nonce)}};
}
Value write(const Welcome& m) {
  return Object{{"type", "welcome"}, {"validator", m.validator.str()}, {"token", m.token}};
}
Value write(const Start& m) {
  json::Array blobs;
  for (const auto& blob : m.blobs) blobs.emplace_back(codec::to_hex(blob));
  return Object{{"type", "start"},
                {"instance", m.instance.str()},
                {"configuration", codec::to_hex(m.configuration)},
                {"blobs", std::move(blobs)},
                {"memory_mib", m.memory_mib}};
}
Value write(const Stop& m) { return Object{{"type", "stop"}, {"instance", m.instance.str()}}; }
Value write(const StartValidatorTd& m) {
  return Object{{"type", "start-validator-td"}, {"configuration", codec::to_hex(m.configuration)}};
}
Value write(const Attempt& m) {
  return Object{{"type", "attempt"},
                {"instance", m.instance.str()},
                {"job", m.job.str()},
                {"attempt", m.attempt.str()},
                {"leased", m.leased}};
}
Value write(const Token& m) { return Object{{"type", "token"}, {"token", m.token}}; }
Value write(const RefusedLogin& m) { return Object{{"type", "refused"}, {"code", m.code}, {"detail", m.detail}}; }
Value write(const Login& m) {
  json::Array running;
  for (const auto& instance : m.running) running.emplace_back(instance.str());
  return Object{{"type", "login"},
                {"hotkey", codec::to_hex(m.hotkey)},
                {"signature", codec::to_hex(m.signature)},
                {"capacity", m.capacity},
                {"running", std::move(running)}};
}
Value write(const Started& m) {
  return Object{{"type", "started"}, {"instance", m.instance.str()}, {"stream", m.stream}};
}
Value write(const StartedValidatorTd& m) { return Object{{"type", "started-validator-td"}, {"stream", m.stream}}; }
Value write(const StartFailed& m) {
  return Object{{"type", "start-failed"}, {"instance", m.instance.str()}, {"code", m.code}, {"detail", m.detail}};
}
Value write(const Exited& m) {
  return Object{{"type", "exited"}, {"instance", m.instance.str()}, {"status", std::int64_t{m.status}}};
}

template <class Name>
Name id(Fields& fields, std::string_view member, bool may_be_empty = false) {
  const auto text = fields.string(member);
  if (fields.failed() || (may_be_empty && text.empty())) return {};
  auto parsed = Name::parse(text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return {};
  }
  return *std::move(parsed);
}

std::string text(Fields& fields, std::string_view member) {
  auto value = fields.string(member);
  if (value.size() > kMaxText) fields.fail(Errc::limit_exceeded, member, "at most 512 bytes");
  return value;
}

std::uint32_t u32(Fields& fields, std::string_view member, std::int64_t max = UINT32_MAX) {
  return static_cast<std::uint32_t>(fields.integer(member, 0, max));
}

Start read_start(Fields& fields) {
  Start m;
  m.instance = id<InstanceId>(fields, "instance");
  m.configuration = fields.hex("configuration");
  const auto& blobs = fields.array("blobs");
  m.memory_mib = u32(fields, "memory_mib");
  if (blobs.size() > kMaxBlobs) fields.fail(Errc::limit_exceeded, "blobs", "at most 130");
  for (const auto& item : blobs) {
    if (fields.failed()) break;
    const auto* hex = item.as_string();
    auto digest = hex != nullptr ? codec::array_from_hex<32>(*hex) : Error{Errc::malformed, "hex expected"};
    if (!digest) fields.fail(digest.error().code(), "blobs", digest.error().detail());
    else m.blobs.push_back(*digest);
  }
  return m;
}

std::vector<InstanceId> read_running(Fields& fields) {
  std::vector<InstanceId> out;
  const auto& running = fields.array("running");
  if (running.size() > kMaxRunning) fields.fail(Errc::limit_exceeded, "running", "at most 1024");
  for (const auto& item : running) {
    if (fields.failed()) break;
    const auto* text = item.as_string();
    auto instance = InstanceId::parse(text != nullptr ? *text : "");
    if (!instance) fields.fail(instance.error().code(), "running", instance.error().detail());
    else out.push_back(*std::move(instance));
  }
  return out;
}

Result<std::string> type_of(const Value& value) {
  const auto* type = value.find("type");
  if (type == nullptr || type->as_string() == nullptr) return Error{Errc::missing_member, "a message has a 'type'"};
  return *type->as_string();
}

}  // namespace

std::string encode(const ToHost& message) {
  return json::write(std::visit([](const auto& m) { return write(m); }, message));
}

std::string encode(const ToServer& message) {
  return json::write(std::visit([](const auto& m) { return write(m); }, message));
}

Result<ToHost> decode_to_host(std::string_view bytes) {
  CLOISTER_TRY(value, json::parse(bytes, kLimits));
  CLOISTER_TRY(type, type_of(value));
  Fields fields{value, "host message '" + type.substr(0, 32) + "'"};
  static_cast<void>(fields.string("type"));
  ToHost message;
  if (type == "hello") {
    Hello m;
    m.server_id = text(fields, "server_id");
    m.nonce = fields.hex_array<32>("nonce");
    message = std::move(m);
  } else if (type == "welcome") {
    Welcome m;
    m.validator = id<ValidatorId>(fields, "validator");
    m.token = fields.string("token");
    message = std::move(m);
  } else if (type == "start") {
    message = read_start(fields);
  } else if (type == "stop") {
    message = Stop{id<InstanceId>(fields, "instance")};
  } else if (type == "start-validator-td") {
    message = StartValidatorTd{fields.hex("configuration")};
  } else if (type == "attempt") {
    Attempt m;
    m.instance = id<InstanceId>(fields, "instance");
    m.job = id<JobId>(fields, "job");
    m.attempt = id<AttemptId>(fields, "attempt");
    m.leased = fields.boolean("leased");
    message = std::move(m);
  } else if (type == "token") {
    message = Token{fields.string("token")};
  } else if (type == "refused") {
    RefusedLogin m;
    m.code = text(fields, "code");
    m.detail = text(fields, "detail");
    message = std::move(m);
  } else {
    return Error{Errc::unsupported, "no such message for a host"};
  }
  CLOISTER_CHECK(fields.finish());
  return message;
}

Result<ToServer> decode_to_server(std::string_view bytes) {
  CLOISTER_TRY(value, json::parse(bytes, kLimits));
  CLOISTER_TRY(type, type_of(value));
  Fields fields{value, "host message '" + type.substr(0, 32) + "'"};
  static_cast<void>(fields.string("type"));
  ToServer message;
  if (type == "login") {
    Login m;
    m.hotkey = fields.hex_array<32>("hotkey");
    m.signature = fields.hex_array<64>("signature");
    m.capacity = u32(fields, "capacity", 1024);
    m.running = read_running(fields);
    message = std::move(m);
  } else if (type == "started") {
    Started m;
    m.instance = id<InstanceId>(fields, "instance");
    m.stream = u32(fields, "stream");
    message = std::move(m);
  } else if (type == "started-validator-td") {
    message = StartedValidatorTd{u32(fields, "stream")};
  } else if (type == "start-failed") {
    StartFailed m;
    m.instance = id<InstanceId>(fields, "instance", true);
    m.code = text(fields, "code");
    m.detail = text(fields, "detail");
    message = std::move(m);
  } else if (type == "exited") {
    Exited m;
    m.instance = id<InstanceId>(fields, "instance", true);
    m.status = static_cast<std::int32_t>(fields.integer("status", INT32_MIN, INT32_MAX));
    message = std::move(m);
  } else {
    return Error{Errc::unsupported, "no such message for a server"};
  }
  CLOISTER_CHECK(fields.finish());
  return message;
}

Bytes login_message(std::string_view server_id, const ByteArray<32>& nonce) {
  codec::cbor::Writer out;
  out.array(3).text("cloister/hotkey/1").text(server_id).bytes(nonce);
  return std::move(out).take();
}

std::uint32_t Frame::credit() const noexcept { return codec::Reader{payload}.u32be().value_or(0); }

namespace {

Bytes frame(FrameKind kind, std::uint32_t stream, ByteView payload) {
  codec::Writer out;
  out.u8(static_cast<std::uint8_t>(kind));
  out.u32be(stream);
  out.raw(payload);
  return std::move(out).take();
}

}  // namespace

Bytes encode_data(std::uint32_t stream, ByteView data) {
  CLOISTER_ASSERT(data.size() <= kMaxData);
  return frame(FrameKind::data, stream, data);
}

Bytes encode_close(std::uint32_t stream) { return frame(FrameKind::close, stream, {}); }

Bytes encode_credit(std::uint32_t stream, std::uint32_t bytes) {
  codec::Writer payload;
  payload.u32be(bytes);
  return frame(FrameKind::credit, stream, payload.bytes());
}

Result<Frame> decode_frame(ByteView message) {
  codec::Reader in{message};
  const auto kind = in.u8();
  const auto stream = in.u32be();
  if (!kind || !stream) return Error{Errc::truncated, "a stream frame has at least 5 bytes"};
  if (*kind > static_cast<std::uint8_t>(FrameKind::credit)) return Error{Errc::unsupported, "no such stream frame"};
  Frame out{static_cast<FrameKind>(*kind), *stream, in.rest()};
  const auto size = out.payload.size();
  switch (out.kind) {
    case FrameKind::data:
      if (size == 0 || size > kMaxData) return Error{Errc::limit_exceeded, "a data frame carries 1 to 65536 bytes"};
      break;
    case FrameKind::close:
      if (size != 0) return Error{Errc::trailing_bytes, "a close frame carries nothing"};
      break;
    case FrameKind::credit:
      if (size != 4) return Error{Errc::malformed, "a credit frame carries four bytes"};
      break;
  }
  return out;
}

}  // namespace cloister::protocol::host
