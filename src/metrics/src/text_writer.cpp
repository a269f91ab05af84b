#include "cloister/metrics/text_writer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "cloister/core/assert.hpp"

namespace cloister::metrics {
namespace {

bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::string_view name_of(Type type) {
  switch (type) {
    case Type::counter: return "counter";
    case Type::gauge: return "gauge";
    case Type::histogram: return "histogram";
  }
  return "untyped";
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quotes) out += "\\\"";
    else out += c;
  }
}

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    std::array<char, 40> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
  }
}

}  // namespace

bool valid_metric_name(std::string_view name) noexcept {
  return !name.empty() && !is_digit(name.front()) &&
         std::ranges::all_of(name, [](char c) { return is_letter(c) || is_digit(c) || c == ':'; });
}

bool valid_label_name(std::string_view name) noexcept {
  return !name.empty() && !is_digit(name.front()) && !name.starts_with("__") &&
         std::ranges::all_of(name, [](char c) { return is_letter(c) || is_digit(c); });
}

void TextWriter::family(std::string_view name, Type type, std::string_view help) {
  CLOISTER_ASSERT(valid_metric_name(name));
  text_ += "# HELP ";
  text_ += name;
  text_ += ' ';
  append_escaped(text_, help, false);
  text_ += "\n# TYPE ";
  text_ += name;
  text_ += ' ';
  text_ += name_of(type);
  text_ += '\n';
}

void TextWriter::sample(std::string_view name, std::span<const Label> labels, double value) {
  text_ += name;
  char before = '{';
  for (const auto& [label, text] : labels) {
    CLOISTER_ASSERT(valid_label_name(label));
    text_ += before;
    text_ += label;
    text_ += "=\"";
    append_escaped(text_, text, true);
    text_ += '"';
    before = ',';
  }
  if (!labels.empty()) text_ += '}';
  text_ += ' ';
  append_number(text_, value);
  text_ += '\n';
}

void TextWriter::single(std::string_view name, Type type, std::string_view help, double value) {
  family(name, type, help);
  sample(name, std::span<const Label>{}, value);
}

}  // namespace cloister::metrics
