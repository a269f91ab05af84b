#include "cloister/core/log.hpp"

#include <unistd.h>

#include <cstdio>

#include "cloister/core/time.hpp"

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

/// JSON string rules (RFC 8259 section 7); control characters escaped, so that one event stays one line.
void quote(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_value(std::string& out, const Field& field, bool quoted) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    const bool plain = !quoted && !text->empty() && text->find_first_of(" \"=\\\t\r\n\x1b") == std::string_view::npos;
    if (plain) out += *text;
    else quote(out, *text);
  } else if (const auto* number = std::get_if<std::int64_t>(&field.value)) {
    out += std::to_string(*number);
  } else if (const auto* real = std::get_if<double>(&field.value)) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.6g", *real);
    out += digits;
  } else {
    out += std::get<bool>(field.value) ? "true" : "false";
  }
}

}  // namespace

StderrLogger::StderrLogger(std::string component, Level least)
    : component_{std::move(component)}, least_{least}, terminal_{::isatty(STDERR_FILENO) == 1} {}

void StderrLogger::write(Level level, std::string_view event, std::initializer_list<Field> fields) {
  if (level < least_) return;
  const auto time = to_rfc3339(SystemClock{}.now());
  std::string line;
  if (terminal_) {
    line = time + ' ' + std::string{name(level)} + ' ' + component_ + ' ' + std::string{event};
    for (const auto& field : fields) {
      line += ' ';
      line += field.name;
      line += '=';
      append_value(line, field, false);
    }
  } else {
    line = "{\"time\":";
    quote(line, time);
    line += ",\"level\":";
    quote(line, name(level));
    line += ",\"component\":";
    quote(line, component_);
    line += ",\"event\":";
    quote(line, event);
    for (const auto& field : fields) {
      line += ',';
      quote(line, field.name);
      line += ':';
      append_value(line, field, true);
    }
    line += '}';
  }
  line += '\n';
  // One write a line keeps lines of several threads and processes apart.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace cloister::log
