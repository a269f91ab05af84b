#include "cloister/lab_service/events.hpp"

#include <algorithm>

namespace cloister::lab_service {

codec::json::Value to_json(const Event& event) {
  return codec::json::Object{{"seq", event.seq},         {"time", to_rfc3339(event.time)},
                             {"machine", event.machine}, {"subject", event.subject},
                             {"event", event.what},      {"fields", event.fields}};
}

void EventLog::add(std::string_view machine, std::string_view subject, std::string_view what,
                   codec::json::Object fields) {
  events_.push_back(
      {++last_, clock_.now(), std::string{machine}, std::string{subject}, std::string{what}, std::move(fields)});
  if (events_.size() > capacity_) events_.pop_front();
  changed_.notify_all();
}

std::vector<Event> EventLog::after(std::uint64_t seq, std::size_t max) const {
  if (seq >= last_) return {};
  const auto from = std::max(seq + 1, first()) - first();
  const auto count = std::min(max, events_.size() - from);
  const auto begin = events_.begin() + static_cast<std::ptrdiff_t>(from);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace cloister::lab_service
