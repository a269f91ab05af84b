#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace cloister {

/// What was asked for lately, of no more than so many bytes together: the oldest goes first. Thread-safe; a `Value` is cheap
/// to copy.
template <class Key, class Value>
class Recent {
 public:
  /// Of what counts as more than a sixteenth of `capacity`, in bytes, nothing is kept.
  explicit Recent(std::size_t capacity) : capacity_{capacity} {}

  [[nodiscard]] std::optional<Value> find(const Key& key) const {
    const std::lock_guard held{mutex_};
    const auto found = places_.find(key);
    if (found == places_.end()) return std::nullopt;
    return found->second->value;
  }

  /// In place of what is there already. `bytes`: what it counts as.
  void keep(const Key& key, Value value, std::size_t bytes) {
    const std::lock_guard held{mutex_};
    add(key, std::move(value), bytes);
  }

  /// Counts the calls of `forget`. Whoever reads what others change takes the number before it reads: what was forgotten
  /// meanwhile is not kept.
  [[nodiscard]] std::uint64_t forgotten() const {
    const std::lock_guard held{mutex_};
    return forgotten_;
  }
  void keep_unless_forgotten(const Key& key, Value value, std::size_t bytes, std::uint64_t forgotten) {
    const std::lock_guard held{mutex_};
    if (forgotten == forgotten_) add(key, std::move(value), bytes);
  }

  /// Everything.
  void forget() {
    std::list<Entry> gone;  // ends outside of the lock
    const std::lock_guard held{mutex_};
    ++forgotten_;
    places_.clear();
    gone.swap(entries_);
    bytes_ = 0;
  }

  [[nodiscard]] std::size_t bytes() const {
    const std::lock_guard held{mutex_};
    return bytes_;
  }

 private:
  struct Entry {
    Key key;
    Value value;
    std::size_t bytes;
  };
  using Entries = std::list<Entry>;

  void add(const Key& key, Value value, std::size_t bytes) {
    if (const auto before = places_.find(key); before != places_.end()) drop(before->second);
    if (bytes > capacity_ / 16) return;
    entries_.push_back({key, std::move(value), bytes});
    places_.emplace(key, std::prev(entries_.end()));
    bytes_ += bytes;
    while (bytes_ > capacity_) drop(entries_.begin());
  }
  void drop(typename Entries::iterator entry) {
    bytes_ -= entry->bytes;
    places_.erase(entry->key);
    entries_.erase(entry);
  }

  std::size_t capacity_;
  mutable std::mutex mutex_;  // guards the rest
  Entries entries_;           // oldest first
  std::map<Key, typename Entries::iterator> places_;
  std::size_t bytes_ = 0;
  std::uint64_t forgotten_ = 0;
};

}  // namespace cloister
