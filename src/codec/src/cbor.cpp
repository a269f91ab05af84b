#include "cloister/codec/cbor.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"

namespace cloister::codec::cbor {
namespace {

// RFC 8949 section 3.1: the major types, and the simple values of section 3.3.
constexpr std::uint8_t kUint = 0;
constexpr std::uint8_t kNegative = 1;
constexpr std::uint8_t kBytes = 2;
constexpr std::uint8_t kText = 3;
constexpr std::uint8_t kArray = 4;
constexpr std::uint8_t kMap = 5;
constexpr std::uint8_t kSimple = 7;
constexpr std::uint64_t kFalse = 20;
constexpr std::uint64_t kTrue = 21;
constexpr std::uint64_t kNull = 22;
constexpr std::uint8_t kNullItem = 0xF6;

std::string_view name_of(std::uint8_t major) noexcept {
  constexpr std::string_view kNames[] = {
      "unsigned integer", "negative integer", "byte string", "text string", "array", "map", "tag", "simple value"};
  return kNames[major];
}

/// Section 4.2.1: the keys of a map in the order of their encoded bytes, each once.
bool ascending(ByteView previous, ByteView next) noexcept {
  return previous.empty() || std::ranges::lexicographical_compare(previous, next);
}

}  // namespace

void Writer::head(std::uint8_t major, std::uint64_t value) {
  const auto type = static_cast<unsigned>(major) << 5U;
  const auto initial = [&](unsigned low) { out_.u8(static_cast<std::uint8_t>(type | low)); };
  if (value < 24) {
    initial(static_cast<unsigned>(value));
  } else if (value <= UINT8_MAX) {
    initial(24);
    out_.u8(static_cast<std::uint8_t>(value));
  } else if (value <= UINT16_MAX) {
    initial(25);
    out_.u16be(static_cast<std::uint16_t>(value));
  } else if (value <= UINT32_MAX) {
    initial(26);
    out_.u32be(static_cast<std::uint32_t>(value));
  } else {
    initial(27);
    out_.u64be(value);
  }
}

Writer& Writer::uint(std::uint64_t value) {
  head(kUint, value);
  return *this;
}

Writer& Writer::integer(std::int64_t value) {
  if (value >= 0) return uint(static_cast<std::uint64_t>(value));
  head(kNegative, static_cast<std::uint64_t>(-(value + 1)));
  return *this;
}

Writer& Writer::bytes(ByteView value) {
  head(kBytes, value.size());
  out_.raw(value);
  return *this;
}

Writer& Writer::text(std::string_view value) {
  head(kText, value.size());
  out_.raw(as_bytes(value));
  return *this;
}

Writer& Writer::array(std::size_t count) {
  head(kArray, count);
  return *this;
}

Writer& Writer::map(std::size_t count) {
  head(kMap, count);
  return *this;
}

Writer& Writer::boolean(bool value) {
  head(kSimple, value ? kTrue : kFalse);
  return *this;
}

Writer& Writer::null() {
  head(kSimple, kNull);
  return *this;
}

Writer& Writer::encoded(ByteView item) {
  out_.raw(item);
  return *this;
}

Bytes Writer::take() {
#ifndef NDEBUG
  Reader written{out_.bytes(), 64};
  written.check_text_ = false;
  while (!written.in_.at_end() && !written.failed()) (void)written.item();
  CLOISTER_ASSERT(!written.failed());
#endif
  return std::exchange(out_, {}).take();
}

void Reader::fail(Errc code, std::string detail) {
  if (!error_) error_.emplace(code, "CBOR: " + std::move(detail));
}

Result<void> Reader::finish() {
  if (error_) return *error_;
  if (!in_.at_end()) return Error{Errc::trailing_bytes, "CBOR: " + std::to_string(in_.remaining()) + " bytes too many"};
  return {};
}

std::optional<Reader::Head> Reader::head() {
  if (error_) return std::nullopt;
  const auto initial = in_.u8();
  if (!initial) {
    fail(Errc::truncated, "an item expected");
    return std::nullopt;
  }
  const Head small{static_cast<std::uint8_t>(*initial >> 5U), *initial & 0x1FU};
  if (small.value < 24) return small;
  // Additional information 24 to 27: 1, 2, 4 or 8 bytes follow, and the value must not fit in fewer.
  std::optional<std::uint64_t> value;
  std::uint64_t least = 24;
  switch (small.value) {
    case 24:
      value = in_.u8();
      break;
    case 25:
      value = in_.u16be(), least = std::uint64_t{UINT8_MAX} + 1;
      break;
    case 26:
      value = in_.u32be(), least = std::uint64_t{UINT16_MAX} + 1;
      break;
    case 27:
      value = in_.u64be(), least = std::uint64_t{UINT32_MAX} + 1;
      break;
    default:
      fail(Errc::not_canonical, "indefinite length or reserved head");
      return std::nullopt;
  }
  if (small.major == kSimple) {
    fail(Errc::unsupported, "floating-point numbers and further simple values are not used");
    return std::nullopt;
  }
  if (!value) {
    fail(Errc::truncated, "the head of an item ends early");
    return std::nullopt;
  }
  if (*value < least) {
    fail(Errc::not_canonical, "a head is longer than it needs to be");
    return std::nullopt;
  }
  return Head{small.major, *value};
}

std::optional<std::uint64_t> Reader::head_of(std::uint8_t major) {
  const auto found = head();
  if (!found) return std::nullopt;
  if (found->major == major) return found->value;
  fail(Errc::malformed, std::string{name_of(major)}.append(" expected, got ").append(name_of(found->major)));
  return std::nullopt;
}

ByteView Reader::string_of(std::uint64_t size) {
  if (size <= in_.remaining()) return *in_.take(static_cast<std::size_t>(size));
  fail(Errc::truncated, "a string of " + std::to_string(size) + " bytes ends early");
  return {};
}

std::uint64_t Reader::uint() { return head_of(kUint).value_or(0); }

std::int64_t Reader::integer() {
  const auto found = head();
  if (!found) return 0;
  if (found->major > kNegative) {
    fail(Errc::malformed, std::string{"integer expected, got "}.append(name_of(found->major)));
    return 0;
  }
  if (found->value > static_cast<std::uint64_t>(INT64_MAX)) {
    fail(Errc::malformed, "an integer of at most 64 bits, sign included, expected");
    return 0;
  }
  const auto value = static_cast<std::int64_t>(found->value);
  return found->major == kUint ? value : -1 - value;
}

ByteView Reader::bytes() {
  const auto size = head_of(kBytes);
  return size ? string_of(*size) : ByteView{};
}

std::string_view Reader::text() {
  const auto size = head_of(kText);
  if (!size) return {};
  const auto content = string_of(*size);
  if (is_utf8(content)) return as_text(content);
  fail(Errc::malformed, "a text string is not UTF-8");
  return {};
}

bool Reader::boolean() {
  const auto value = head_of(kSimple);
  if (value && *value != kFalse && *value != kTrue) fail(Errc::malformed, "true or false expected");
  return value == kTrue;
}

bool Reader::take_null() {
  if (error_ || in_.at_end() || in_.rest().front() != kNullItem) return false;
  return in_.take(1).has_value();
}

void Reader::array(std::size_t count) {
  const auto found = head_of(kArray);
  if (found && *found != count) {
    fail(Errc::malformed, "an array of " + std::to_string(count) + " items expected, got " + std::to_string(*found));
  }
}

std::size_t Reader::array_up_to(std::size_t max) {
  const auto found = head_of(kArray);
  if (!found) return 0;
  if (*found <= max) return static_cast<std::size_t>(*found);
  fail(Errc::limit_exceeded,
       "an array of at most " + std::to_string(max) + " items expected, got " + std::to_string(*found));
  return 0;
}

void Reader::map(std::size_t count) {
  const auto found = head_of(kMap);
  if (found && *found != count) {
    fail(Errc::malformed, "a map of " + std::to_string(count) + " pairs expected, got " + std::to_string(*found));
  }
}

std::size_t Reader::map_up_to(std::size_t max) {
  const auto begin = in_;
  const auto found = head_of(kMap);
  if (!found) return 0;
  if (*found > max) {
    fail(Errc::limit_exceeded,
         "a map of at most " + std::to_string(max) + " pairs expected, got " + std::to_string(*found));
    return 0;
  }
  const auto first_pair = in_;
  in_ = begin;
  skip(max_depth_);
  in_ = first_pair;
  return failed() ? 0 : static_cast<std::size_t>(*found);
}

void Reader::key(std::string_view name) {
  const auto found = text();
  if (!failed() && found != name) {
    fail(Errc::malformed, "key '" + std::string{name} + "' expected, got '" + std::string{found.substr(0, 64)} + "'");
  }
}

void Reader::domain(std::string_view expected) {
  const auto found = text();
  if (!failed() && found != expected) {
    fail(Errc::malformed, "'" + std::string{expected} + "' expected, got '" + std::string{found.substr(0, 64)} + "'");
  }
}

ByteView Reader::item() {
  const auto before = in_.rest();
  skip(max_depth_);
  return failed() ? ByteView{} : before.first(before.size() - in_.remaining());
}

void Reader::skip(std::size_t depth) {
  const auto found = head();
  if (!found) return;
  switch (found->major) {
    case kUint:
    case kNegative:
      return;
    case kBytes:
      (void)string_of(found->value);
      return;
    case kText:
      if (const auto content = string_of(found->value); check_text_ && !is_utf8(content)) {
        fail(Errc::malformed, "a text string is not UTF-8");
      }
      return;
    case kArray:
    case kMap:
      if (depth == 0) return fail(Errc::limit_exceeded, "nested too deeply");
      return found->major == kArray ? skip_items(found->value, depth - 1) : skip_pairs(found->value, depth - 1);
    case kSimple:
      if (found->value < kFalse || found->value > kNull)
        fail(Errc::unsupported, "a simple value other than false, true, null");
      return;
    default:
      return fail(Errc::unsupported, "tags are not used");
  }
}

void Reader::skip_items(std::uint64_t count, std::size_t depth) {
  // Every item takes a byte at least, so a false count ends with the bytes.
  for (std::uint64_t i = 0; i < count && !failed(); ++i) skip(depth);
}

void Reader::skip_pairs(std::uint64_t count, std::size_t depth) {
  ByteView previous;
  for (std::uint64_t i = 0; i < count && !failed(); ++i) {
    const auto before = in_.rest();
    skip(depth);
    if (failed()) return;
    const auto next = before.first(before.size() - in_.remaining());
    if (!ascending(previous, next)) return fail(Errc::not_canonical, "map keys are not in order, or one stands twice");
    previous = next;
    skip(depth);
  }
}

}  // namespace cloister::codec::cbor
