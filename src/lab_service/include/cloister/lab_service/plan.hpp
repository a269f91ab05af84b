#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

namespace cloister::lab_service {

/// What is still to be done for something that was begun, one instruction a step: all at once, or one at a time for
/// whoever wants to look between them.
class Plan {
 public:
  using Run = std::function<Result<codec::json::Object>()>;  // what the step left, for its event
  void add(std::string name, Run run) { steps_.push_back({std::move(name), std::move(run)}); }
  [[nodiscard]] bool done() const noexcept { return steps_.empty(); }
  [[nodiscard]] std::size_t left() const noexcept { return steps_.size(); }
  /// The name of the next step; the plan is not done.
  [[nodiscard]] const std::string& next() const { return steps_.front().name; }
  /// A step that fails ends the plan.
  [[nodiscard]] Result<codec::json::Object> step() {
    CLOISTER_ASSERT(!done());
    auto current = std::move(steps_.front());
    steps_.pop_front();
    auto out = current.run();
    if (!out) steps_.clear();
    return out;
  }

 private:
  struct Step {
    std::string name;
    Run run;
  };
  std::deque<Step> steps_;
};

/// What a step did, and what comes next.
struct Stepped {
  std::string did;
  codec::json::Object fields;
  std::string next;  // empty: nothing
  std::size_t left = 0;
  codec::json::Value outcome;  // of the whole, with its last step; else null
};

}  // namespace cloister::lab_service
