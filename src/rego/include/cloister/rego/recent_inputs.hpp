#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

#include "cloister/codec/json.hpp"
#include "cloister/rego/policy.hpp"

namespace cloister::rego {

/// Inputs that were asked for lately, of no more than so many bytes of text together: what policies may hold is the process's,
/// so that inputs which wait for their next use must not take much of it. Thread-safe.
class RecentInputs {
 public:
  explicit RecentInputs(std::size_t bytes) : capacity_{bytes} {}

  /// Where somebody finds an input again; touched by `get` alone.
  using Slot = std::weak_ptr<const KnownInput>;
  /// What `slot` has, or where that is gone one made of `input`, always the same for one slot. Null for what is more than a
  /// sixteenth of the capacity, or cannot be read.
  [[nodiscard]] std::shared_ptr<const KnownInput> get(Slot& slot, const codec::json::Value& input);

 private:
  std::size_t capacity_;
  std::mutex mutex_;  // guards slots, and the two below
  std::deque<std::shared_ptr<const KnownInput>> recent_;  // oldest first
  std::size_t bytes_ = 0;
};

}  // namespace cloister::rego
