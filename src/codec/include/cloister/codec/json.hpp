#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// JSON (RFC 8259) under limits: duplicate members refused, UTF-8 checked, raw spans of values kept, because signed
/// JSON is verified over its exact bytes.
namespace cloister::codec::json {

struct Limits {
  std::size_t bytes = 4U << 20;
  std::size_t depth = 32;  // of arrays and objects; bounds the parser's own recursion
  std::size_t values = 200'000;
};

class Value;
/// In document order. Names are unique.
using Object = std::vector<std::pair<std::string, Value>>;
using Array = std::vector<Value>;

/// An immutable-by-habit tree; cheap to move. Numbers that are integers within int64 or uint64 keep that type.
class Value {
 public:
  Value() = default;  // null
  Value(std::nullptr_t) {}
  Value(bool b) : data_{b} {}
  Value(std::int64_t n) : data_{n} {}
  Value(int n) : data_{std::int64_t{n}} {}
  Value(std::uint32_t n) : data_{std::int64_t{n}} {}
  Value(std::uint64_t n);  // stored as int64 where it fits
  Value(double n) : data_{n} {}
  Value(std::string s) : data_{std::move(s)} {}
  Value(std::string_view s) : data_{std::string{s}} {}
  Value(const char* s) : data_{std::string{s}} {}
  Value(Array a) : data_{std::move(a)} {}
  Value(Object o) : data_{std::move(o)} {}

  [[nodiscard]] bool is_null() const noexcept { return data_.index() == 0; }
  [[nodiscard]] const bool* as_bool() const noexcept { return std::get_if<bool>(&data_); }
  [[nodiscard]] std::optional<std::int64_t> as_int() const noexcept;    // numbers written as integers, within range
  [[nodiscard]] std::optional<std::uint64_t> as_uint() const noexcept;  // written as an integer, not negative
  [[nodiscard]] std::optional<double> as_double() const noexcept;       // any number
  [[nodiscard]] const std::string* as_string() const noexcept { return std::get_if<std::string>(&data_); }
  [[nodiscard]] const Array* as_array() const noexcept { return std::get_if<Array>(&data_); }
  [[nodiscard]] const Object* as_object() const noexcept { return std::get_if<Object>(&data_); }
  [[nodiscard]] Object* as_object() noexcept { return std::get_if<Object>(&data_); }
  [[nodiscard]] Array* as_array() noexcept { return std::get_if<Array>(&data_); }

  /// The member of that name of an object; nothing when there is none, or this is no object.
  [[nodiscard]] const Value* find(std::string_view name) const noexcept;
  /// Sets (replaces or appends) a member; this must be an object (asserted). Returns *this.
  Value& set(std::string_view name, Value value);

  /// Where this value stood in the parsed text: [begin, end) offsets; empty for built values.
  [[nodiscard]] std::string_view raw(std::string_view text) const noexcept {
    return text.substr(begin_, end_ - begin_);
  }

  friend bool operator==(const Value& a, const Value& b) noexcept { return a.data_ == b.data_; }

 private:
  friend class Parser;
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

/// The whole text is one value; white space around it is allowed, anything else is refused. Numbers beyond the range of
/// a double, lone surrogates and a byte order mark are refused. Errors, with the offset of the byte: `limit_exceeded`,
/// `malformed`, `truncated`, `duplicate_member`, `trailing_bytes`, `unsupported` (a number too large).
[[nodiscard]] Result<Value> parse(std::string_view text, const Limits& limits = {});
/// Compact, members in stored order, control characters escaped, non-ASCII left as it is. What is not UTF-8 in a string,
/// as a peer's words in an error, becomes U+FFFD, byte by byte. Numbers must be finite (asserted).
[[nodiscard]] std::string write(const Value& value);
/// Two spaces of indentation, for people.
[[nodiscard]] std::string write_pretty(const Value& value);

/// Typed access to one object's members, for decoding messages: the first problem is kept and the rest are skipped.
/// `finish()` reports it, or the first member that nobody asked for. Optional members may also be null, which counts as
/// absent. Holds views: the value and the names asked for must outlive this.
///
///   json::Fields f{value, "job"};
///   out.id = f.string("id");            // required
///   out.note = f.optional_string("note");
///   CLOISTER_CHECK(f.finish());
class Fields {
 public:
  /// `where` names the object in error texts.
  Fields(const Value& value, std::string where);
  Fields(const Value&& value, std::string where) = delete;

  [[nodiscard]] std::string string(std::string_view name);
  [[nodiscard]] std::optional<std::string> optional_string(std::string_view name);
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t min = INT64_MIN, std::int64_t max = INT64_MAX);
  [[nodiscard]] std::optional<std::int64_t> optional_integer(std::string_view name, std::int64_t min = INT64_MIN,
                                                             std::int64_t max = INT64_MAX);
  [[nodiscard]] bool boolean(std::string_view name);
  [[nodiscard]] std::optional<bool> optional_boolean(std::string_view name);
  [[nodiscard]] Bytes hex(std::string_view name);
  [[nodiscard]] Bytes base64(std::string_view name);  // standard alphabet, padded
  template <std::size_t N>
  [[nodiscard]] ByteArray<N> hex_array(std::string_view name) {
    const auto bytes = hex(name);
    if (error_) return {};
    if (bytes.size() != N) {
      fail(Errc::malformed, name, std::to_string(N) + " bytes of hex expected, got " + std::to_string(bytes.size()));
      return {};
    }
    return to_array<N>(bytes);
  }
  /// A null-safe reference: an empty array, object or null value when it is missing or of another type.
  [[nodiscard]] const Array& array(std::string_view name);
  [[nodiscard]] const Array& optional_array(std::string_view name);
  [[nodiscard]] const Value& object(std::string_view name);
  [[nodiscard]] const Value* optional_object(std::string_view name);
  [[nodiscard]] const Value& any(std::string_view name);
  [[nodiscard]] const Value* optional_any(std::string_view name);  // a null as it is

  /// Records a problem of the caller's own, with the member's name.
  void fail(Errc code, std::string_view name, std::string detail);
  [[nodiscard]] bool failed() const noexcept { return error_.has_value(); }
  /// The first problem; else `unknown_member` for the first member not asked for; else success.
  [[nodiscard]] Result<void> finish();
  /// As `finish`, with members that nobody asked for allowed (documents of others that may grow).
  [[nodiscard]] Result<void> finish_lenient();

 private:
  [[nodiscard]] const Value* get(std::string_view name, bool required);
  [[nodiscard]] std::optional<std::string> text(std::string_view name, bool required);
  [[nodiscard]] std::optional<std::int64_t> number(std::string_view name, bool required, std::int64_t min,
                                                   std::int64_t max);
  [[nodiscard]] std::optional<bool> truth(std::string_view name, bool required);
  [[nodiscard]] Bytes decoded(std::string_view name, Result<Bytes> (*decode)(std::string_view));
  const Value* value_;
  std::string where_;
  std::uint64_t asked_ = 0;             // one bit for each of the first 64 members
  std::vector<std::size_t> asked_late_;  // indices of others
  std::optional<Error> error_;
};

}  // namespace cloister::codec::json
