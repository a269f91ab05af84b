#include "cloister/rego/cache.hpp"

#include <algorithm>

namespace cloister::rego {

PolicyCache::PolicyCache(std::size_t capacity) : capacity_{std::max<std::size_t>(capacity, 1)} {}

Result<std::shared_ptr<const CompiledPolicy>> PolicyCache::get(std::span<const Module> modules,
                                                               std::span<const std::string> entrypoints,
                                                               const Limits& limits) {
  const auto key = digest(modules, entrypoints, limits);
  {
    const std::lock_guard lock{mutex_};
    if (const auto found = by_digest_.find(key); found != by_digest_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      return found->second->second;
    }
  }
  CLOISTER_TRY(compiled, CompiledPolicy::compile(modules, entrypoints, limits));
  const std::lock_guard lock{mutex_};
  if (const auto found = by_digest_.find(key); found != by_digest_.end()) return found->second->second;
  recent_.emplace_front(key, compiled);
  by_digest_.emplace(key, recent_.begin());
  if (recent_.size() > capacity_) {
    by_digest_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return compiled;
}

std::size_t PolicyCache::size() const {
  const std::lock_guard lock{mutex_};
  return recent_.size();
}

}  // namespace cloister::rego
