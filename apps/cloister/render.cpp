#include "render.hpp"

#include <algorithm>

namespace cloister::cli {
namespace {

namespace json = codec::json;

bool is_scalar(const json::Value& value) { return value.as_object() == nullptr && value.as_array() == nullptr; }

std::string scalar_text(const json::Value& value) {
  if (const auto* text = value.as_string()) return printable(*text);
  return value.is_null() ? "-" : json::write(value);
}

/// A list of plain values fits on one line.
bool is_flat(const json::Value& value) {
  const auto* items = value.as_array();
  return items != nullptr && std::ranges::all_of(*items, is_scalar);
}

std::string flat_text(const json::Array& items) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : " ") + scalar_text(item);
  return out.empty() ? "-" : out;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out{text};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    // C0, DEL, and C1 in its UTF-8 form (0xC2 0x80 to 0x9F).
    const bool c1 = c == 0xC2 && i + 1 < out.size() && (static_cast<unsigned char>(out[i + 1]) & 0xE0U) == 0x80U;
    if (c < 0x20 || c == 0x7F) out[i] = '?';
    if (c1) out.replace(i, 2, "?");
  }
  return out;
}

void print_plain(std::ostream& out, const json::Value& value, unsigned indent) {
  const std::string pad(indent, ' ');
  if (const auto* members = value.as_object()) {
    for (const auto& [name, member] : *members) {
      out << pad << name << ':';
      if (is_scalar(member)) {
        out << ' ' << scalar_text(member) << '\n';
      } else if (is_flat(member)) {
        out << ' ' << flat_text(*member.as_array()) << '\n';
      } else {
        out << '\n';
        print_plain(out, member, indent + 2);
      }
    }
  } else if (const auto* items = value.as_array()) {
    for (const auto& item : *items) {
      out << pad << "-\n";
      print_plain(out, item, indent + 2);
    }
  } else {
    out << pad << scalar_text(value) << '\n';
  }
}

}  // namespace cloister::cli
