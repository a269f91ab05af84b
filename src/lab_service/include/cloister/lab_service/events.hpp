#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/time.hpp"
#include "cloister/runtime/event.hpp"

namespace cloister::lab_service {

/// One state transition.
struct Event {
  std::uint64_t seq = 0;  // from 1, without gaps
  UnixTime time{};
  std::string machine;  // "sgx", "snp"
  std::string subject;  // the enclave's name, the VM's id
  std::string what;     // the instruction or command, or what became of a call: "EADD", "ECALL", "SNP_LAUNCH_FINISH"
  codec::json::Object fields;
};
[[nodiscard]] codec::json::Value to_json(const Event& event);

/// The latest transitions, as many as there is room for. One thread at a time; waiting on `changed` is thread-safe.
class EventLog {
 public:
  static constexpr std::size_t kCapacity = 4096;
  explicit EventLog(const Clock& clock, std::size_t capacity = kCapacity) : clock_{clock}, capacity_{capacity} {}

  void add(std::string_view machine, std::string_view subject, std::string_view what, codec::json::Object fields = {});
  /// Those after `seq`, oldest first. Where some of them are gone, the first one's number tells.
  [[nodiscard]] std::vector<Event> after(std::uint64_t seq, std::size_t max) const;
  /// The oldest that is still there; one more than `last` when there is none.
  [[nodiscard]] std::uint64_t first() const noexcept { return last_ + 1 - events_.size(); }
  [[nodiscard]] std::uint64_t last() const noexcept { return last_; }
  [[nodiscard]] runtime::AsyncEvent& changed() noexcept { return changed_; }

 private:
  const Clock& clock_;
  std::size_t capacity_;
  std::deque<Event> events_;
  std::uint64_t last_ = 0;
  runtime::AsyncEvent changed_;
};

}  // namespace cloister::lab_service
