#include "attempt.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "hex_text.hpp"

namespace cloister::exercise {
namespace {

namespace json = codec::json;

constexpr std::string_view kAttempt = "attempt.json";
constexpr json::Limits kLimits{.bytes = kMaxFileSize, .depth = 8, .values = 5000};

std::optional<std::uint64_t> number_of(const json::Value& value) {
  if (const auto plain = value.as_uint()) return plain;
  const auto* text = value.as_string();
  if (text == nullptr || !text->starts_with("0x")) return std::nullopt;
  std::uint64_t out = 0;
  const auto* end = text->data() + text->size();
  const auto [stopped, problem] = std::from_chars(text->data() + 2, end, out, 16);
  if (problem != std::errc{} || stopped != end) return std::nullopt;
  return out;
}

}  // namespace

Result<void> play_steps(const Files& files, EventLog& log, const Play& play) {
  const auto file = files.find(kAttempt);
  if (file == files.end()) return Error{Errc::not_found, "attempt.json is missing"};
  const auto attempt = json::parse(file->second, kLimits);
  if (!attempt) return attempt.error().in(kAttempt);
  json::Fields top{*attempt, std::string{kAttempt}};
  const auto& steps = top.array("steps");
  CLOISTER_CHECK(top.finish());
  if (steps.size() > kMaxSteps) return Error{Errc::limit_exceeded, "attempt.json: more than 64 steps"};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto where = "attempt.json, step " + std::to_string(i + 1);
    json::Fields fields{steps[i], where};
    const auto op = fields.string("op");
    if (fields.failed()) return fields.finish();
    log.begin_step(i + 1);
    if (const auto played = play(op, fields); !played) {
      const auto& error = played.error();
      return error.detail().starts_with(where) ? error : error.in(where);
    }
  }
  return {};
}

Error unknown_op(std::string_view op, std::string_view known) {
  return Error{Errc::malformed, "no such op: \"" + std::string{op.substr(0, 40)} + "\"; there are " + std::string{known}};
}

std::uint64_t number(json::Fields& fields, std::string_view name, std::uint64_t max) {
  const auto& value = fields.any(name);
  if (fields.failed()) return 0;
  const auto found = number_of(value);
  if (!found) fields.fail(Errc::malformed, name, "a number expected, or a text like \"0x1000\"");
  if (found && *found > max) fields.fail(Errc::limit_exceeded, name, "at most " + hex_number(max) + " expected");
  return fields.failed() ? 0 : *found;
}

std::string one_of(json::Fields& fields, std::string_view name, std::initializer_list<std::string_view> words) {
  auto out = fields.string(name);
  if (fields.failed() || std::ranges::find(words, out) != words.end()) return out;
  std::string known;
  for (const auto word : words) known.append(known.empty() ? "" : ", ").append(word);
  fields.fail(Errc::malformed, name, "one of " + known + " expected");
  return {};
}

Result<Bytes> hex_file(const Files& files, std::string_view name, std::size_t max) {
  const auto file = files.find(name);
  if (file == files.end()) return Error{Errc::not_found, std::string{name} + " is missing"};
  auto bytes = parse_hex_text(file->second, max);
  if (!bytes) return bytes.error().in(name);
  return bytes;
}

bool any(const EventLog& log, const std::function<bool(const Event&)>& fits) { return std::ranges::any_of(log.events(), fits); }

bool happened(const EventLog& log, std::string_view op, std::string_view outcome,
              std::initializer_list<std::pair<std::string_view, std::string_view>> details) {
  return any(log, [&](const Event& event) {
    return event.op == op && event.outcome.starts_with(outcome) &&
           std::ranges::all_of(details, [&](const auto& detail) { return event.detail(detail.first) == detail.second; });
  });
}

std::size_t first(const EventLog& log, std::size_t from, std::string_view op, std::string_view outcome) {
  const auto& events = log.events();
  for (auto i = from; i < events.size(); ++i) {
    if (events[i].op == op && events[i].outcome.starts_with(outcome)) return i;
  }
  return events.size();
}

}  // namespace cloister::exercise
