#pragma once

#include <optional>
#include <string>

#include "cloister/codec/cbor.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/time.hpp"

namespace cloister::protocol::detail {

/// An id of one kind; the reader fails when the text is none.
template <class Name>
[[nodiscard]] Name id(codec::cbor::Reader& in) {
  const auto text = in.text();
  if (in.failed()) return {};
  auto parsed = Name::parse(text);
  if (!parsed) {
    in.fail(parsed.error().code(), parsed.error().detail());
    return {};
  }
  return *std::move(parsed);
}

/// Null, or an id.
template <class Name>
[[nodiscard]] std::optional<Name> optional_id(codec::cbor::Reader& in) {
  if (in.take_null()) return std::nullopt;
  return id<Name>(in);
}

/// Null, or exactly N bytes.
template <std::size_t N>
[[nodiscard]] std::optional<ByteArray<N>> optional_bytes(codec::cbor::Reader& in) {
  if (in.take_null()) return std::nullopt;
  return in.bytes<N>();
}

/// A text of at most `max` bytes.
[[nodiscard]] inline std::string short_text(codec::cbor::Reader& in, std::size_t max) {
  const auto text = in.text();
  if (text.size() > max) {
    in.fail(Errc::limit_exceeded, "a text of at most " + std::to_string(max) + " bytes expected");
    return {};
  }
  return std::string{text};
}

/// An unsigned integer of at most `max`.
[[nodiscard]] inline std::uint64_t bounded(codec::cbor::Reader& in, std::uint64_t min, std::uint64_t max) {
  const auto value = in.uint();
  if (!in.failed() && (value < min || value > max)) {
    in.fail(Errc::invalid_argument, "a number from " + std::to_string(min) + " to " + std::to_string(max) +
                                        " expected, got " + std::to_string(value));
  }
  return value;
}

template <std::size_t N>
void optional_bytes(codec::cbor::Writer& out, const std::optional<ByteArray<N>>& value) {
  if (value) out.bytes(*value);
  else out.null();
}

}  // namespace cloister::protocol::detail
