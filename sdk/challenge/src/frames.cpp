#include "frames.hpp"

#include <string.h>

#include <algorithm>
#include <charconv>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::sdk {
namespace {

namespace cbor = codec::cbor;

constexpr std::string_view kDomain = "cloister/challenge/1";
constexpr std::size_t kMaxSecrets = 192;  // derived keys among them
constexpr std::size_t kMaxName = 64;
constexpr std::size_t kMaxText = 4096;

std::string name(cbor::Reader& in) {
  const auto text = in.text();
  if (!in.failed() && (text.empty() || text.size() > kMaxName)) {
    in.fail(Errc::malformed, "a name of 1 to 64 bytes expected");
  }
  return std::string{text};
}

Secrets secrets(cbor::Reader& in) {
  std::vector<std::pair<std::string, Bytes>> values;
  const auto count = in.array_up_to(kMaxSecrets);
  values.reserve(count);
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    in.array(2);
    auto key = name(in);
    const bool twice = std::ranges::any_of(values, [&key](const auto& value) { return value.first == key; });
    if (!in.failed() && twice) in.fail(Errc::malformed, "a secret stands twice");
    values.emplace_back(std::move(key), to_bytes(in.bytes()));
  }
  return Secrets{std::move(values)};
}

cbor::Writer message(std::size_t members, std::string_view kind) {
  cbor::Writer out;
  out.array(2 + members).text(kDomain).text(kind);
  return out;
}

Bytes framed(cbor::Writer& message) {
  auto body = message.take();
  codec::Writer out;
  out.u32be(static_cast<std::uint32_t>(body.size()));
  out.raw(body);
  wipe(body);
  return std::move(out).take();
}

/// What may be sent as text: UTF-8 of at most 4 KiB, cut before a character.
std::string sendable(std::string_view text) {
  std::string out{text.substr(0, kMaxText)};
  if (text.size() > kMaxText && codec::is_utf8(as_bytes(text))) {
    while (!out.empty() && !codec::is_utf8(as_bytes(out))) out.pop_back();
  }
  if (!codec::is_utf8(as_bytes(out))) {
    std::ranges::replace_if(
        out, [](char c) { return static_cast<std::uint8_t>(c) >= 0x80; }, '?');
  }
  return out;
}

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

}  // namespace

void wipe(Bytes& bytes) noexcept {
  if (!bytes.empty()) ::explicit_bzero(bytes.data(), bytes.size());
  bytes.clear();
}

Secrets::~Secrets() {
  for (auto& value : values_) wipe(value.second);
}

std::optional<ByteView> Secrets::find(std::string_view wanted) const noexcept {
  for (const auto& value : values_) {
    if (value.first == wanted) return ByteView{value.second};
  }
  return std::nullopt;
}

std::vector<DerivedKey> Secrets::derived_keys(std::string_view purpose) const {
  std::vector<DerivedKey> out;
  for (const auto& [name, value] : values_) {
    if (name.size() <= purpose.size() + 1 || !name.starts_with(purpose) || name[purpose.size()] != '/') continue;
    DerivedKey key{0, value};
    const auto* const end = name.data() + name.size();
    const auto [stopped, failure] = std::from_chars(name.data() + purpose.size() + 1, end, key.version);
    if (failure == std::errc{} && stopped == end) out.push_back(key);
  }
  std::ranges::sort(out, {}, &DerivedKey::version);
  return out;
}

Result<FromGuest> decode(ByteView frame) {
  cbor::Reader in{frame};
  const auto members = in.array_up_to(4);
  in.domain(kDomain);
  const auto kind = in.text();
  const auto expect = [&in, members](std::size_t count) {
    if (!in.failed() && members != count) in.fail(Errc::malformed, "a member too many or too few");
  };
  if (kind == "start") {
    expect(3);
    Start start{secrets(in)};
    CLOISTER_CHECK(in.finish());
    return FromGuest{std::move(start)};
  }
  if (kind == "job") {
    expect(4);
    auto id = name(in);
    Job job{std::move(id), to_bytes(in.bytes())};
    CLOISTER_CHECK(in.finish());
    return FromGuest{std::move(job)};
  }
  if (kind == "stop") {
    expect(2);
  } else if (!in.failed()) {
    in.fail(Errc::unsupported, "a message of another kind");
  }
  CLOISTER_CHECK(in.finish());
  return FromGuest{Stop{}};
}

Bytes ready_frame(unsigned slots) { return framed(message(1, "ready").uint(slots)); }
Bytes failed_frame(std::string_view detail) { return framed(message(1, "failed").text(sendable(detail))); }
Bytes progress_frame(std::string_view job, unsigned percent) {
  return framed(message(2, "progress").text(job).uint(std::min(percent, 100U)));
}
Bytes log_frame(LogLevel level, std::string_view text) {
  return framed(message(2, "log").text(level_name(level)).text(sendable(text)));
}
Bytes result_frame(std::string_view job, bool ok, ByteView output) {
  CLOISTER_ASSERT(output.size() <= kMaxOutput);
  return framed(message(3, "result").text(job).text(ok ? "ok" : "error").bytes(output));
}

}  // namespace cloister::sdk
