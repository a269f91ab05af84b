#include "cloister/codec/der.hpp"

#include <algorithm>
#include <charconv>

namespace cloister::codec::der {
namespace {

constexpr std::uint8_t kClassMask = 0xC0;
constexpr std::uint8_t kConstructed = 0x20;
constexpr std::uint8_t kNumberMask = 0x1F;

/// X.690 sections 8 and 10.2: of the universal types only EXTERNAL, EMBEDDED PDV, SEQUENCE, SET and CHARACTER STRING
/// are constructed in DER, and those always; number 0 is reserved, 31 begins the long form of tags.
bool valid_identifier(std::uint8_t identifier) noexcept {
  const auto number = identifier & kNumberMask;
  if (number == kNumberMask) return false;
  if ((identifier & kClassMask) != 0) return true;
  const bool constructed = (identifier & kConstructed) != 0;
  return number != 0 && constructed == (number == 8 || number == 11 || number == 16 || number == 17 || number == 29);
}

std::string tag_text(std::uint8_t identifier) {
  constexpr std::string_view kHex = "0123456789abcdef";
  return {'0', 'x', kHex[identifier >> 4U], kHex[identifier & 0xFU]};
}

/// X.690 section 8.3.2: the first nine bits are neither all zero nor all one.
bool minimal_integer(ByteView contents) noexcept {
  if (contents.empty()) return false;
  if (contents.size() == 1) return true;
  return !(contents[0] == 0x00 && contents[1] < 0x80) && !(contents[0] == 0xFF && contents[1] >= 0x80);
}

/// X.690 section 8.19: base-128 groups, none with a leading zero, the last one whole.
bool valid_oid(ByteView contents) noexcept {
  if (contents.empty() || contents.back() >= 0x80) return false;
  bool first = true;
  for (const auto byte : contents) {
    if (first && byte == 0x80) return false;
    first = byte < 0x80;
  }
  return true;
}

/// The number that two digits at `at` spell, or -1.
int two_digits(ByteView text, std::size_t at) noexcept {
  const int tens = text[at] - '0';
  const int ones = text[at + 1] - '0';
  if (tens < 0 || tens > 9 || ones < 0 || ones > 9) return -1;
  return tens * 10 + ones;
}

void append_base128(Bytes& out, std::uint64_t value) {
  unsigned shift = 0;
  while (shift < 63 && value >> (shift + 7) != 0) shift += 7;
  for (; shift > 0; shift -= 7) out.push_back(static_cast<std::uint8_t>(0x80U | (value >> shift & 0x7FU)));
  out.push_back(static_cast<std::uint8_t>(value & 0x7FU));
}

}  // namespace

void Reader::fail(Errc code, std::string detail) {
  if (!error_) error_.emplace(code, "DER: " + std::move(detail));
}

Result<void> Reader::finish() {
  if (error_) return *error_;
  if (!in_.at_end()) return Error{Errc::trailing_bytes, "DER: " + std::to_string(in_.remaining()) + " bytes too many"};
  return {};
}

void Reader::absorb(Reader& nested) {
  if (error_) return;
  if (auto ended = nested.finish(); !ended) error_ = std::move(ended).error();
}

std::optional<std::size_t> Reader::length() {
  const auto first = in_.u8();
  if (!first) return fail(Errc::truncated, "a length expected"), std::nullopt;
  if (*first < 0x80) return *first;
  // Section 10.1: definite, in as few bytes as possible. Four bytes are enough for anything that is read here.
  const std::size_t count = *first & 0x7FU;
  if (count == 0) return fail(Errc::not_canonical, "indefinite length"), std::nullopt;
  if (count > 4) return fail(Errc::limit_exceeded, "a length of more than 32 bits"), std::nullopt;
  const auto bytes = in_.take(count);
  if (!bytes) return fail(Errc::truncated, "a length ends early"), std::nullopt;
  std::size_t value = 0;
  for (const auto byte : *bytes) value = value << 8U | byte;
  if (value < 0x80 || bytes->front() == 0)
    return fail(Errc::not_canonical, "a length is longer than it needs to be"), std::nullopt;
  return value;
}

Element Reader::any() {
  if (error_) return {};
  const auto before = in_.rest();
  const auto identifier = in_.u8();
  if (!identifier) return fail(Errc::truncated, "an element expected"), Element{};
  if (!valid_identifier(*identifier)) {
    return fail(Errc::malformed, "identifier octet " + tag_text(*identifier) + " is not DER"), Element{};
  }
  const auto size = length();
  if (!size) return {};
  const auto contents = in_.take(*size);
  if (!contents) {
    return fail(Errc::truncated,
                std::to_string(*size) + " bytes of contents expected, got " + std::to_string(in_.remaining())),
           Element{};
  }
  return {*identifier, *contents, before.first(before.size() - in_.remaining())};
}

Element Reader::expect(std::uint8_t tag) {
  const auto element = any();
  if (error_ || element.tag == tag) return element;
  return fail(Errc::malformed, "tag " + tag_text(tag) + " expected, got " + tag_text(element.tag)), Element{};
}

std::optional<Element> Reader::optional(std::uint8_t tag) {
  if (error_ || in_.at_end() || in_.rest().front() != tag) return std::nullopt;
  const auto element = any();
  if (error_) return std::nullopt;
  return element;
}

Reader Reader::enter(std::uint8_t tag) {
  Reader inner{expect(tag).contents};
  inner.error_ = error_;
  return inner;
}

bool Reader::boolean() {
  const auto contents = expect(tag::kBoolean).contents;
  if (error_) return false;
  const bool valid = contents.size() == 1 && (contents[0] == 0x00 || contents[0] == 0xFF);
  if (!valid) fail(Errc::malformed, "a BOOLEAN of 00 or FF expected");
  return valid && contents[0] == 0xFF;
}

ByteView Reader::integer() {
  const auto contents = expect(tag::kInteger).contents;
  if (error_) return {};
  if (minimal_integer(contents)) return contents;
  return fail(Errc::not_canonical, "an INTEGER is empty or longer than it needs to be"), ByteView{};
}

std::uint64_t Reader::uint() {
  auto contents = integer();
  if (error_) return 0;
  if (contents.front() == 0)
    contents = contents.subspan(1);
  else if (contents.front() >= 0x80)
    return fail(Errc::malformed, "an INTEGER is negative"), 0;
  if (contents.size() > 8) return fail(Errc::limit_exceeded, "an INTEGER of at most 64 bits expected"), 0;
  std::uint64_t value = 0;
  for (const auto byte : contents) value = value << 8U | byte;
  return value;
}

ByteView Reader::octet_string() { return expect(tag::kOctetString).contents; }

ByteView Reader::bit_string() {
  const auto contents = expect(tag::kBitString).contents;
  if (error_) return {};
  if (!contents.empty() && contents.front() == 0) return contents.subspan(1);
  return fail(Errc::malformed, "a BIT STRING of whole bytes expected"), ByteView{};
}

ByteView Reader::oid() {
  const auto contents = expect(tag::kOid).contents;
  if (error_ || valid_oid(contents)) return contents;
  return fail(Errc::malformed, "an OBJECT IDENTIFIER is empty or not minimal"), ByteView{};
}

UnixTime Reader::time() {
  const auto element = any();
  if (error_) return {};
  // YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ; RFC 5280 section 4.1.2.5.1 puts two-digit years into 1950 to 2049.
  const bool utc = element.tag == tag::kUtcTime;
  const auto text = element.contents;
  if (!utc && element.tag != tag::kGeneralizedTime) {
    return fail(Errc::malformed, "UTCTime or GeneralizedTime expected, got tag " + tag_text(element.tag)), UnixTime{};
  }
  const std::size_t digits = utc ? 12 : 14;
  bool valid = text.size() == digits + 1 && text.back() == 'Z';
  int part[7] = {};
  for (std::size_t i = 0; valid && i < digits / 2; ++i) {
    part[i + (utc ? 1 : 0)] = two_digits(text, 2 * i);
    valid = part[i + (utc ? 1 : 0)] >= 0;
  }
  if (valid) {
    if (utc) part[0] = part[1] >= 50 ? 19 : 20;
    const auto at = from_civil(part[0] * 100 + part[1], part[2], part[3], part[4], part[5], part[6]);
    if (at) return *at;
  }
  return fail(Errc::malformed, "a time of day in UTC, with seconds and 'Z', expected"), UnixTime{};
}

Bytes oid(std::string_view dotted) {
  Bytes out;
  std::uint64_t first = 0;
  std::size_t count = 0;
  const char* at = dotted.data();
  const char* const end = dotted.data() + dotted.size();
  while (true) {
    std::uint64_t arc = 0;
    const auto [next, failure] = std::from_chars(at, end, arc);
    CLOISTER_ASSERT(failure == std::errc{});
    if (count == 0) {
      CLOISTER_ASSERT(arc <= 2);
      first = arc;
    } else {
      CLOISTER_ASSERT(count > 1 || ((first == 2 || arc < 40) && arc <= UINT64_MAX - 80));
      append_base128(out, count == 1 ? first * 40 + arc : arc);
    }
    ++count;
    if (next == end) break;
    CLOISTER_ASSERT(*next == '.');
    at = next + 1;
  }
  CLOISTER_ASSERT(count >= 2);
  return out;
}

std::string oid_text(ByteView contents) {
  std::string out;
  std::uint64_t arc = 0;
  for (const auto byte : contents) {
    if (arc > UINT64_MAX >> 7U) return "(an OID with an arc of more than 64 bits)";
    arc = arc << 7U | (byte & 0x7FU);
    if (byte >= 0x80) continue;
    if (out.empty()) {
      const auto top = std::min<std::uint64_t>(arc / 40, 2);
      out = std::to_string(top);
      arc -= top * 40;
    }
    out.append(".").append(std::to_string(arc));
    arc = 0;
  }
  return out;
}

Bytes element(std::uint8_t tag, ByteView contents) {
  Bytes out;
  out.reserve(contents.size() + 6);
  out.push_back(tag);
  const auto size = contents.size();
  if (size < 0x80) {
    out.push_back(static_cast<std::uint8_t>(size));
  } else {
    unsigned count = 1;
    while (count < sizeof size && size >> (8 * count) != 0) ++count;
    out.push_back(static_cast<std::uint8_t>(0x80U | count));
    for (unsigned i = count; i-- > 0;) out.push_back(static_cast<std::uint8_t>(size >> (8 * i)));
  }
  append(out, contents);
  return out;
}

Bytes sequence(std::initializer_list<Bytes> members) { return sequence(std::vector<Bytes>{members}); }

Bytes sequence(const std::vector<Bytes>& members) {
  Bytes contents;
  for (const auto& member : members) append(contents, member);
  return element(tag::kSequence, contents);
}

Bytes set_of(std::vector<Bytes> members) {
  std::ranges::sort(members);
  Bytes contents;
  for (const auto& member : members) append(contents, member);
  return element(tag::kSet, contents);
}

Bytes integer(std::uint64_t value) {
  ByteArray<8> big_endian;
  for (std::size_t i = 0; i < 8; ++i) big_endian[i] = static_cast<std::uint8_t>(value >> (56 - 8 * i));
  return unsigned_integer(big_endian);
}

Bytes unsigned_integer(ByteView big_endian) {
  while (!big_endian.empty() && big_endian.front() == 0) big_endian = big_endian.subspan(1);
  Bytes contents;
  if (big_endian.empty() || big_endian.front() >= 0x80) contents.push_back(0);
  append(contents, big_endian);
  return element(tag::kInteger, contents);
}

Bytes object_id(std::string_view dotted) { return element(tag::kOid, oid(dotted)); }
Bytes octet_string(ByteView contents) { return element(tag::kOctetString, contents); }

Bytes bit_string(ByteView contents, unsigned unused_bits) {
  CLOISTER_ASSERT(unused_bits < 8 && (unused_bits == 0 || !contents.empty()));
  Bytes whole{static_cast<std::uint8_t>(unused_bits)};
  append(whole, contents);
  // Section 11.2.1: unused bits are zero.
  whole.back() = static_cast<std::uint8_t>(whole.back() >> unused_bits << unused_bits);
  if (contents.empty()) whole.back() = 0;
  return element(tag::kBitString, whole);
}

Bytes boolean(bool value) { return element(tag::kBoolean, Bytes{static_cast<std::uint8_t>(value ? 0xFF : 0x00)}); }
Bytes null() { return element(tag::kNull, {}); }
Bytes utf8_string(std::string_view text) { return element(tag::kUtf8String, as_bytes(text)); }
Bytes printable_string(std::string_view text) { return element(tag::kPrintableString, as_bytes(text)); }

Bytes time(UnixTime at) {
  // "YYYY-MM-DDTHH:MM:SSZ" without its punctuation.
  std::string digits;
  for (const char c : to_rfc3339(std::chrono::floor<std::chrono::seconds>(at))) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  digits.push_back('Z');
  const bool utc = digits >= "1950" && digits < "2050";
  return utc ? element(tag::kUtcTime, as_bytes(std::string_view{digits}.substr(2)))
             : element(tag::kGeneralizedTime, as_bytes(digits));
}

Bytes explicit_tag(unsigned number, ByteView inner) { return element(tag::context(number, true), inner); }

}  // namespace cloister::codec::der
