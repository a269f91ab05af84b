#include "cloister/rego/recent_inputs.hpp"

namespace cloister::rego {

std::shared_ptr<const KnownInput> RecentInputs::get(Slot& slot, const codec::json::Value& input) {
  {
    const std::lock_guard held{mutex_};
    if (auto known = slot.lock()) return known;
  }
  auto made = KnownInput::of(input, {.input_bytes = capacity_ / 16});
  if (!made) return nullptr;
  const std::lock_guard held{mutex_};
  if (auto known = slot.lock()) return known;  // another was faster
  slot = *made;
  bytes_ += (*made)->size();
  recent_.push_back(*made);
  while (bytes_ > capacity_) {
    bytes_ -= recent_.front()->size();
    recent_.pop_front();
  }
  return *std::move(made);
}

}  // namespace cloister::rego
