#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"

namespace cloister::exercise {

/// One thing that happened on the lab's machine.
struct Event {
  std::size_t step = 0;          // of the attempt, from 1 on; 0: before it
  std::string by;                // who did it: "host", "enclave", "guest", "verifier", …
  std::string op;                // what: an instruction, a command, a check
  codec::json::Object with;      // on what; strings and numbers
  std::string outcome;           // "success", or what the defence said, e.g. "SGX_MAC_COMPARE_FAIL (9)"

  /// The detail of that name as text; empty when there is none.
  [[nodiscard]] std::string detail(std::string_view name) const;
};

/// Everything that an attempt did, in order. What a judge reads, and all that it reads. A value.
class EventLog {
 public:
  void begin_step(std::size_t step) noexcept { step_ = step; }
  void add(std::string_view by, std::string_view op, codec::json::Object with, std::string outcome) {
    events_.push_back({step_, std::string{by}, std::string{op}, std::move(with), std::move(outcome)});
  }
  [[nodiscard]] const std::vector<Event>& events() const noexcept { return events_; }

 private:
  std::size_t step_ = 0;
  std::vector<Event> events_;
};

/// "[2] host EWB page=heap slot=3 -> SGX_NOT_TRACKED (11)"
[[nodiscard]] std::string to_text(const Event& event);
[[nodiscard]] codec::json::Value to_json(const EventLog& log);

}  // namespace cloister::exercise
