#include "cloister/core/log_line.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace cloister::log {
namespace {

std::string_view name(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
  }
  return "error";
}

/// One character of UTF-8 (RFC 3629) at the front of the text.
struct Character {
  char32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  char32_t code = lead & (0xFFU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    code = (code << 6U) | (byte(i) & 0x3FU);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (overlong || surrogate || code > 0x10FFFF) return {};
  return {code, size, true};
}

/// What ends a line, steers a terminal, or changes the direction of the text after it.
bool steers(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || (code >= 0x200E && code <= 0x200F) ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

/// JSON string rules (RFC 8259 section 7).
void quote(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto character = first_character(text);
    if (!character.valid) {
      out += "\\ufffd";
    } else if (character.code == '"' || character.code == '\\') {
      out += '\\';
      out += text.front();
    } else if (steers(character.code)) {
      char escape[16];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(character.code));
      out += escape;
    } else {
      out += text.substr(0, character.size);
    }
    text.remove_prefix(character.size);
  }
  out += '"';
}

/// Whether a reader sees where the value ends without quotes.
bool is_plain(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > 0x20 && c < 0x7F && c != '"' && c != '\\' && c != '=';
  });
}

void append_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char digits[40];
  std::snprintf(digits, sizeof digits, "%.6g", value);
  out += digits;
}

void append_value(std::string& out, const Field& field, Format format) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    if (format == Format::text && is_plain(*text)) out += *text;
    else quote(out, *text);
  } else if (const auto* number = std::get_if<std::int64_t>(&field.value)) {
    out += std::to_string(*number);
  } else if (const auto* real = std::get_if<double>(&field.value)) {
    append_number(out, *real);
  } else {
    out += std::get<bool>(field.value) ? "true" : "false";
  }
}

}  // namespace

std::string format_line(Format format, UnixTime time, Level level, std::string_view component, std::string_view event,
                        std::initializer_list<Field> fields) {
  std::string line;
  if (format == Format::text) {
    line = to_rfc3339(time) + ' ' + std::string{name(level)} + ' ' + std::string{component} + ' ' + std::string{event};
    for (const auto& field : fields) {
      line += ' ';
      line += field.name;
      line += '=';
      append_value(line, field, format);
    }
  } else {
    line = "{\"time\":";
    quote(line, to_rfc3339(time));
    line += ",\"level\":";
    quote(line, name(level));
    line += ",\"component\":";
    quote(line, component);
    line += ",\"event\":";
    quote(line, event);
    for (const auto& field : fields) {
      line += ',';
      quote(line, field.name);
      line += ':';
      append_value(line, field, format);
    }
    line += '}';
  }
  line += '\n';
  return line;
}

StderrLogger::StderrLogger(std::string component, Level least)
    : component_{std::move(component)},
      least_{least},
      terminal_{::isatty(STDERR_FILENO) == 1} {}

void StderrLogger::write(Level level, std::string_view event, std::initializer_list<Field> fields) {
  if (level < least_) return;
  const auto format = terminal_ ? Format::text : Format::json;
  const auto line = format_line(format, SystemClock{}.now(), level, component_, event, fields);
  // One write a line keeps lines of several threads and processes apart.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace cloister::log
