#include "toml_json.hpp"

#include <cmath>
#include <sstream>

#include <toml++/toml.h>

#include "cloister/codec/toml.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

constexpr int kMaxDepth = 64;
constexpr int kMaxValues = 10'000;
constexpr codec::TomlLimits kLimits{.bytes = 256U << 10, .depth = kMaxDepth, .marks = 40'000};

class Converter {
 public:
  /// Sets `failed` where the value has no place in JSON.
  [[nodiscard]] json::Value convert(const toml::node& node, int depth) {
    if (depth > kMaxDepth || ++values_ > kMaxValues) return fail();
    if (const auto* table = node.as_table()) {
      json::Object out;
      for (const auto& [key, value] : *table) out.emplace_back(std::string{key.str()}, convert(value, depth + 1));
      return json::Value{std::move(out)};
    }
    if (const auto* array = node.as_array()) {
      json::Array out;
      for (const auto& value : *array) out.push_back(convert(value, depth + 1));
      return json::Value{std::move(out)};
    }
    if (const auto* text = node.as_string()) return json::Value{text->get()};
    if (const auto* number = node.as_integer()) return json::Value{number->get()};
    if (const auto* number = node.as_floating_point()) return std::isfinite(number->get()) ? json::Value{number->get()} : fail();
    if (const auto* flag = node.as_boolean()) return json::Value{flag->get()};
    if (const auto* date = node.as_date()) return written(date->get());
    if (const auto* time = node.as_time()) return written(time->get());
    if (const auto* moment = node.as_date_time()) return written(moment->get());
    return fail();
  }
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  json::Value fail() {
    failed_ = true;
    return {};
  }
  template <class Time>
  static json::Value written(const Time& time) {
    std::ostringstream out;
    out << time;
    return json::Value{out.str()};
  }
  int values_ = 0;
  bool failed_ = false;
};

}  // namespace

std::optional<json::Value> json_of_toml(std::string_view text) {
  if (!codec::check_toml(text, kLimits)) return std::nullopt;  // the parser recurses, and so does what it gives, at its end
  const auto parsed = toml::parse(text);
  if (!parsed) return std::nullopt;
  Converter converter;
  auto out = converter.convert(parsed.table(), 0);
  if (converter.failed()) return std::nullopt;
  return out;
}

}  // namespace cloister::rcar
