#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cloister/codec/cursor.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// CBOR in its deterministic encoding only (RFC 8949 section 4.2.1): shortest heads, definite lengths, map keys
/// sorted by their encoded bytes and unique. Types: unsigned and negative integers, byte and text strings, arrays,
/// maps, false, true, null. Everything else is refused: `not_canonical` when another encoding is the deterministic one,
/// `unsupported` for tags, floating-point numbers and other simple values, `malformed` and `truncated` otherwise.
namespace cloister::codec::cbor {

/// Appends items; the caller writes as many items as each head announces, and text that is UTF-8 (readers refuse
/// other).
class Writer {
 public:
  /// Room for `size` bytes: growth within it leaves no copy of what was written.
  Writer& reserve(std::size_t size) {
    out_.reserve(size);
    return *this;
  }
  Writer& uint(std::uint64_t value);
  Writer& integer(std::int64_t value);
  Writer& bytes(ByteView value);
  Writer& text(std::string_view value);
  Writer& array(std::size_t count);
  /// The caller writes key, value, key, value… in deterministic key order: text keys by length first, then by bytes.
  Writer& map(std::size_t count);
  Writer& boolean(bool value);
  Writer& null();
  /// An item encoded before, as it is.
  Writer& encoded(ByteView item);
  /// The items written; nothing is left here. Debug builds assert that they are whole and in deterministic order.
  [[nodiscard]] Bytes take();

 private:
  void head(std::uint8_t major, std::uint64_t value);
  codec::Writer out_;
};

/// Reads items forward. The first refusal sticks: later reads return empty values, and `finish` reports it.
/// Views point into the bytes that the reader was made with. `max_depth` bounds the nesting of what `item` and
/// `map_up_to` pass over; a map that is read by `map` and `key` has its order from the caller's names.
///
///   cbor::Reader r{bytes};
///   r.array(3); r.domain("cloister/x/1"); auto id = r.text(); auto key = r.bytes<32>();
///   CLOISTER_CHECK(r.finish());
class Reader {
 public:
  explicit Reader(ByteView bytes, std::size_t max_depth = 16) noexcept : in_{bytes}, max_depth_{max_depth} {}

  [[nodiscard]] std::uint64_t uint();
  [[nodiscard]] std::int64_t integer();
  [[nodiscard]] ByteView bytes();
  template <std::size_t N>
  [[nodiscard]] ByteArray<N> bytes() {
    const auto view = bytes();
    if (failed()) return {};
    if (view.size() != N) {
      fail(Errc::malformed, std::to_string(N) + " bytes expected, got " + std::to_string(view.size()));
      return {};
    }
    return to_array<N>(view);
  }
  [[nodiscard]] std::string_view text();  // UTF-8 checked
  [[nodiscard]] bool boolean();
  /// Consumes a null if one is next.
  [[nodiscard]] bool take_null();
  /// The head of an array of exactly `count` items.
  void array(std::size_t count);
  /// The head of an array of at most `max` items.
  [[nodiscard]] std::size_t array_up_to(std::size_t max);
  /// The head of a map of exactly `count` pairs; the keys are then read with `key`.
  void map(std::size_t count);
  /// The head of a map of at most `max` pairs, which is checked whole (key order, nesting) before this returns; the
  /// pairs are then read in turn.
  [[nodiscard]] std::size_t map_up_to(std::size_t max);
  /// A text key that must be exactly `name`.
  void key(std::string_view name);
  /// A text that must be exactly `expected`: the domain string that begins every array of ours.
  void domain(std::string_view expected);
  /// The next item whole, checked to be deterministic, undecoded.
  [[nodiscard]] ByteView item();

  void fail(Errc code, std::string detail);
  [[nodiscard]] bool failed() const noexcept { return error_.has_value(); }
  /// The first refusal, or `trailing_bytes`, or success.
  [[nodiscard]] Result<void> finish();

 private:
  struct Head {
    std::uint8_t major;
    std::uint64_t value;
  };
  [[nodiscard]] std::optional<Head> head();
  [[nodiscard]] std::optional<std::uint64_t> head_of(std::uint8_t major);
  [[nodiscard]] ByteView string_of(std::uint64_t size);
  void skip(std::size_t depth);
  void skip_items(std::uint64_t count, std::size_t depth);
  void skip_pairs(std::uint64_t count, std::size_t depth);

  friend class Writer;
  codec::Reader in_;
  std::size_t max_depth_;
  bool check_text_ = true;
  std::optional<Error> error_;
};

}  // namespace cloister::codec::cbor
