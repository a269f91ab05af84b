#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace cloister::log {

/// error: page someone; warn: an operator should look; info: rare, not attacker-drivable; debug: per request.
enum class Level { debug, info, warn, error };

/// A named value. Never evidence blobs, tokens or keys.
struct Field {
  std::string_view name;
  std::variant<std::int64_t, double, bool, std::string_view> value;
  Field(std::string_view n, std::string_view v) : name{n}, value{v} {}
  Field(std::string_view n, const std::string& v) : name{n}, value{std::string_view{v}} {}
  Field(std::string_view n, const char* v) : name{n}, value{std::string_view{v}} {}
  Field(std::string_view n, bool v) : name{n}, value{v} {}
  Field(std::string_view n, double v) : name{n}, value{v} {}
  Field(std::string_view n, std::int64_t v) : name{n}, value{v} {}
  Field(std::string_view n, int v) : name{n}, value{std::int64_t{v}} {}
  Field(std::string_view n, std::uint32_t v) : name{n}, value{std::int64_t{v}} {}
  Field(std::string_view n, std::size_t v) : name{n}, value{static_cast<std::int64_t>(v)} {}
};

/// Where events go. Implementations are thread-safe.
class Logger {
 public:
  virtual ~Logger() = default;
  virtual void write(Level level, std::string_view event, std::initializer_list<Field> fields) = 0;

  void debug(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::debug, event, fields); }
  void info(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::info, event, fields); }
  void warn(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::warn, event, fields); }
  void error(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::error, event, fields); }
};

/// One line an event on standard error: JSON, or readable text when standard error is a terminal.
class StderrLogger final : public Logger {
 public:
  /// Events below `least` are dropped; `component` is a field of every line.
  StderrLogger(std::string component, Level least);
  void write(Level level, std::string_view event, std::initializer_list<Field> fields) override;

 private:
  std::string component_;
  Level least_;
  bool terminal_;
};

/// Drops everything.
class NullLogger final : public Logger {
 public:
  void write(Level, std::string_view, std::initializer_list<Field>) override {}
};

}  // namespace cloister::log
