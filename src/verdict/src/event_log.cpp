#include "cloister/verdict/event_log.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/measure/rtmr.hpp"

namespace cloister::verdict {
namespace {

namespace json = codec::json;
using evidence::Event;

/// dstack's own register, and the event after which the application runs.
constexpr std::uint8_t kDstackRtmr = 3;
constexpr std::string_view kSystemReady = "system-ready";

Result<void> check_replay(const evidence::EventLog& log, const evidence::TdBody& td) {
  const auto replayed = measure::replay(log);
  std::string differing;
  for (std::size_t i = 0; i < replayed.size(); ++i) {
    if (replayed[i] == td.rtmr[i]) continue;
    if (!differing.empty()) differing += ", ";
    differing += "RTMR" + std::to_string(i) + ' ' + codec::to_hex(td.rtmr[i]) + " (the log: " + codec::to_hex(replayed[i]) + ')';
  }
  if (differing.empty()) return {};
  return Error{Errc::event_log_mismatch, "the log does not lead to the quote's " + differing};
}

bool is_dstack(const Event& event) {
  return event.type == evidence::kEventDstackRuntime && event.rtmr == kDstackRtmr;
}

/// Names as claims are written: "app-id" is `app_id`.
std::string claim_name(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

json::Value claim_value(const Event& event) {
  const bool text = event.name == "key-provider" || event.name == "storage-fs";
  const bool readable = std::ranges::all_of(event.data, [](std::uint8_t c) { return c >= 0x20 && c < 0x7F; });
  if (text && readable) return json::Value{as_text(event.data)};
  return json::Value{codec::to_hex(event.data)};
}

/// Of the events up to "system-ready"; those that only mark a step have no payload and are no claims.
Result<void> add_dstack(json::Value& claims, const Event& event) {
  const auto ambiguous = [&](std::string_view why) {
    return Error{Errc::evidence_malformed, "event log: \"" + event.name + "\" before \"system-ready\" " + std::string{why}};
  };
  if (event.name.find(':') != std::string::npos) return ambiguous("has a colon in its name");
  if (event.data.empty()) return {};
  const auto name = claim_name(event.name);
  if (claims.find(name) != nullptr) return ambiguous("is there twice");
  claims.set(name, claim_value(event));
  return {};
}

json::Value runtime_event(const Event& event) {
  return json::Value{json::Object{{"rtmr", std::int64_t{*event.rtmr}},
                                  {"name", event.name},
                                  {"payload", codec::to_hex(event.data)}}};
}

}  // namespace

Result<json::Value> event_log_claims(const evidence::EventLog& log, const evidence::TdBody& td) {
  CLOISTER_CHECK(check_replay(log, td));
  json::Value dstack{json::Object{}};
  json::Array runtime;
  bool ready = false;
  for (const auto& event : log) {
    if (!event.extends()) continue;
    if (is_dstack(event) && !ready) {
      CLOISTER_CHECK(add_dstack(dstack, event));
      ready = event.name == kSystemReady;
    } else if (event.type == evidence::kEventDstackRuntime || event.type == evidence::kEventGuest) {
      runtime.push_back(runtime_event(event));
    }
  }
  json::Object claims{{"events", std::uint64_t{log.size()}}};
  if (!dstack.as_object()->empty()) claims.emplace_back("dstack", std::move(dstack));
  if (!runtime.empty()) claims.emplace_back("runtime_events", std::move(runtime));
  return json::Value{std::move(claims)};
}

}  // namespace cloister::verdict
