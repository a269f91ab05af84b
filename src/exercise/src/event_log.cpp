#include "cloister/exercise/event_log.hpp"

#include <algorithm>

namespace cloister::exercise {
namespace {

namespace json = codec::json;

std::string text_of(const json::Value& value) {
  const auto* text = value.as_string();
  return text != nullptr ? *text : json::write(value);
}

}  // namespace

std::string Event::detail(std::string_view name) const {
  const auto found = std::ranges::find(with, name, &std::pair<std::string, json::Value>::first);
  return found == with.end() ? std::string{} : text_of(found->second);
}

std::string to_text(const Event& event) {
  auto out = "[" + std::to_string(event.step) + "] " + event.by + " " + event.op;
  for (const auto& [name, value] : event.with) out += " " + name + "=" + text_of(value);
  return out + " -> " + event.outcome;
}

json::Value to_json(const EventLog& log) {
  json::Array out;
  for (const auto& event : log.events()) {
    out.emplace_back(json::Object{{"step", std::uint64_t{event.step}},
                                  {"by", event.by},
                                  {"op", event.op},
                                  {"with", event.with},
                                  {"outcome", event.outcome}});
  }
  return json::Value{std::move(out)};
}

}  // namespace cloister::exercise
