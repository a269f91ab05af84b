#pragma once

#include "cloister/codec/cursor.hpp"
#include "cloister/core/assert.hpp"

/// A layout written once serves both directions: `template <class Io, class T> void layout(Io& io, T& value)` names
/// the fields in order, and either of these walks them.
namespace cloister::evidence {

/// Reads fixed-width little-endian fields. The caller has checked the size, so running short is our own mistake.
class FieldReader {
 public:
  explicit FieldReader(ByteView bytes) noexcept : in_{bytes} {}

  template <std::size_t N>
  void operator()(ByteArray<N>& field) {
    set(field, in_.array<N>());
  }
  void operator()(std::uint8_t& field) { set(field, in_.u8()); }
  void operator()(std::uint16_t& field) { set(field, in_.u16le()); }
  void operator()(std::uint32_t& field) { set(field, in_.u32le()); }
  void operator()(std::uint64_t& field) { set(field, in_.u64le()); }
  [[nodiscard]] bool at_end() const noexcept { return in_.at_end(); }

 private:
  template <class T>
  static void set(T& field, const std::optional<T>& read) {
    CLOISTER_ASSERT(read.has_value());
    field = *read;
  }
  codec::Reader in_;
};

class FieldWriter {
 public:
  template <std::size_t N>
  void operator()(const ByteArray<N>& field) {
    out_.raw(field);
  }
  void operator()(std::uint8_t field) { out_.u8(field); }
  void operator()(std::uint16_t field) { out_.u16le(field); }
  void operator()(std::uint32_t field) { out_.u32le(field); }
  void operator()(std::uint64_t field) { out_.u64le(field); }
  [[nodiscard]] Bytes take() && { return std::move(out_).take(); }

 private:
  codec::Writer out_;
};

}  // namespace cloister::evidence
