#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <mutex>

#include "cloister/rego/policy.hpp"

namespace cloister::rego {

/// Compiled policies by digest, the least recently used given up first. Thread-safe; two threads that miss at once both
/// compile, and one result is kept. Refusals are not kept.
class PolicyCache {
 public:
  /// At most `capacity` policies (at least 1); evaluations that run keep theirs alive.
  explicit PolicyCache(std::size_t capacity);

  /// As CompiledPolicy::compile.
  [[nodiscard]] Result<std::shared_ptr<const CompiledPolicy>> get(std::span<const Module> modules,
                                                                  std::span<const std::string> entrypoints,
                                                                  const Limits& limits = {});
  [[nodiscard]] std::size_t size() const;

 private:
  using Entry = std::pair<Digest32, std::shared_ptr<const CompiledPolicy>>;
  mutable std::mutex mutex_;
  std::size_t capacity_;
  std::list<Entry> recent_;  // most recently used first
  std::map<Digest32, std::list<Entry>::iterator> by_digest_;
};

}  // namespace cloister::rego
