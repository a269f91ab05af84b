#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/cursor.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

/// DER (X.690): definite minimal lengths, low tag numbers only. Reads what certificates, CRLs and keys are made of.
namespace cloister::codec::der {

/// Identifier octets of universal types, and of context-specific ones by `context`.
namespace tag {
inline constexpr std::uint8_t kBoolean = 0x01;
inline constexpr std::uint8_t kInteger = 0x02;
inline constexpr std::uint8_t kBitString = 0x03;
inline constexpr std::uint8_t kOctetString = 0x04;
inline constexpr std::uint8_t kNull = 0x05;
inline constexpr std::uint8_t kOid = 0x06;
inline constexpr std::uint8_t kEnumerated = 0x0A;
inline constexpr std::uint8_t kUtf8String = 0x0C;
inline constexpr std::uint8_t kPrintableString = 0x13;
inline constexpr std::uint8_t kIa5String = 0x16;
inline constexpr std::uint8_t kUtcTime = 0x17;
inline constexpr std::uint8_t kGeneralizedTime = 0x18;
inline constexpr std::uint8_t kSequence = 0x30;
inline constexpr std::uint8_t kSet = 0x31;
[[nodiscard]] constexpr std::uint8_t context(unsigned number, bool constructed) {
  return static_cast<std::uint8_t>(0x80U | (constructed ? 0x20U : 0U) | number);
}
}  // namespace tag

/// One element: its identifier octet, its contents, and all of its bytes.
struct Element {
  std::uint8_t tag = 0;
  ByteView contents;
  ByteView whole;
};

/// Reads a series of elements. The first refusal sticks; later reads return empty elements; `finish` reports it.
/// Identifier octets that DER does not allow (primitive SEQUENCE, constructed OCTET STRING, high tag numbers…) are
/// refused. Views point into the bytes that the reader was made with; nothing is allocated before a refusal.
class Reader {
 public:
  explicit Reader(ByteView bytes) noexcept : in_{bytes} {}

  /// The next element, of any tag.
  [[nodiscard]] Element any();
  /// The next element, which must have this identifier octet.
  [[nodiscard]] Element expect(std::uint8_t tag);
  /// The next element if it has this identifier octet.
  [[nodiscard]] std::optional<Element> optional(std::uint8_t tag);
  /// A reader over the contents of the next element, which must have this identifier octet; it begins with the refusal
  /// that this reader has, so that checking the inner one alone loses nothing. Trailing bytes inside are the caller's
  /// to check, by `finish` or `absorb`.
  [[nodiscard]] Reader enter(std::uint8_t tag);

  [[nodiscard]] bool boolean();
  /// Contents of an INTEGER, minimal two's complement (at least one byte).
  [[nodiscard]] ByteView integer();
  /// A non-negative INTEGER of at most 64 bits.
  [[nodiscard]] std::uint64_t uint();
  [[nodiscard]] ByteView octet_string();
  /// A BIT STRING with no unused bits.
  [[nodiscard]] ByteView bit_string();
  /// Contents of an OBJECT IDENTIFIER; compare with `oid(...)`.
  [[nodiscard]] ByteView oid();
  /// UTCTime or GeneralizedTime as RFC 5280 section 4.1.2.5 has them (seconds, "Z"); either, for any date.
  [[nodiscard]] UnixTime time();

  [[nodiscard]] bool at_end() const noexcept { return in_.at_end(); }
  void fail(Errc code, std::string detail);
  [[nodiscard]] bool failed() const noexcept { return error_.has_value(); }
  /// The first refusal, or `trailing_bytes`, or success.
  [[nodiscard]] Result<void> finish();
  /// Takes over the refusal of a nested reader, if it has one (trailing bytes included).
  void absorb(Reader& nested);

 private:
  [[nodiscard]] std::optional<std::size_t> length();
  codec::Reader in_;
  std::optional<Error> error_;
};

/// Contents octets of a dotted OID, e.g. oid("1.2.840.113741.1.13.1"). The text must be valid (asserted).
[[nodiscard]] Bytes oid(std::string_view dotted);
/// Dotted form of OID contents, for messages.
[[nodiscard]] std::string oid_text(ByteView contents);

// Writing: each returns one whole element. Strings are written as they are given; the caller keeps to their alphabets.
[[nodiscard]] Bytes element(std::uint8_t tag, ByteView contents);
[[nodiscard]] Bytes sequence(std::initializer_list<Bytes> members);
[[nodiscard]] Bytes sequence(const std::vector<Bytes>& members);
[[nodiscard]] Bytes set_of(std::vector<Bytes> members);  // sorts
[[nodiscard]] Bytes integer(std::uint64_t value);
[[nodiscard]] Bytes unsigned_integer(ByteView big_endian);
[[nodiscard]] Bytes object_id(std::string_view dotted);
[[nodiscard]] Bytes octet_string(ByteView contents);
[[nodiscard]] Bytes bit_string(ByteView contents, unsigned unused_bits = 0);
[[nodiscard]] Bytes boolean(bool value);
[[nodiscard]] Bytes null();
[[nodiscard]] Bytes utf8_string(std::string_view text);
[[nodiscard]] Bytes printable_string(std::string_view text);
/// UTCTime from 1950 through 2049, else GeneralizedTime; whole seconds, rounded down.
[[nodiscard]] Bytes time(UnixTime at);
/// Explicit context tag.
[[nodiscard]] Bytes explicit_tag(unsigned number, ByteView inner);

}  // namespace cloister::codec::der
