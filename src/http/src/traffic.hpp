#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/http/server.hpp"

namespace cloister::http {

/// Token buckets, one a key: `per_second` on average, twice that at once. Thread-safe.
class RateLimiter {
 public:
  /// 0: no limit.
  explicit RateLimiter(std::uint32_t per_second) : per_second_{static_cast<double>(per_second)} {}
  /// Whether one more may pass now.
  [[nodiscard]] bool admit(std::string_view key, SteadyTime now);

 private:
  struct Bucket {
    double tokens;
    SteadyTime seen;
  };
  [[nodiscard]] Bucket filled(Bucket bucket, SteadyTime now) const;
  void forget_full(SteadyTime now);
  double per_second_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;  // of keys that are not full
};

/// What one remote address counts as: an IPv4 address, the /64 network of an IPv6 address; nothing for loopback, which
/// is this machine, or a proxy on it that knows better.
[[nodiscard]] std::optional<std::string> address_key(const std::string& remote_address);

/// How many connections each remote address has. Thread-safe; outlives its slots.
class ConnectionCounts {
 public:
  /// One connection, counted while this lives.
  class Slot {
   public:
    Slot() = default;  // counts nothing
    Slot(ConnectionCounts& counts, std::string key, std::size_t number)
        : counts_{&counts}, key_{std::move(key)}, number_{number} {}
    Slot(Slot&& other) noexcept
        : counts_{std::exchange(other.counts_, nullptr)}, key_{std::move(other.key_)}, number_{other.number_} {}
    Slot& operator=(Slot&&) = delete;
    ~Slot();
    /// Which of its address's it was when it came: 1 for the first, 0 where nothing is counted.
    [[nodiscard]] std::size_t number() const noexcept { return number_; }

   private:
    ConnectionCounts* counts_ = nullptr;
    std::string key_;
    std::size_t number_ = 0;
  };

  [[nodiscard]] Slot add(const std::string& remote_address);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::size_t> counts_;  // of addresses that have any
};

/// What a server takes at once, over all of its connections. Thread-safe.
class Traffic {
 public:
  /// `clock`: the system's when null.
  explicit Traffic(const ServerLimits& limits, const Clock* clock = nullptr)
      : limits_{limits},
        clock_{clock},
        per_address_{limits.requests_per_address},
        per_token_{limits.requests_per_token},
        per_group_{limits.requests_per_group} {}

  [[nodiscard]] ConnectionCounts::Slot add_connection(const std::string& remote_address) {
    return connections_.add(remote_address);
  }
  /// `rate_limited`.
  [[nodiscard]] Result<void> admit_address(const std::string& remote_address);
  [[nodiscard]] Result<void> admit_token(const std::string& token_id);
  [[nodiscard]] Result<void> admit_group(const std::string& group);

  /// A part of a limited amount that is given back at the end.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept : total_{std::exchange(other.total_, nullptr)}, amount_{other.amount_} {}
    Share& operator=(Share&& other) noexcept {
      std::swap(total_, other.total_);
      std::swap(amount_, other.amount_);
      return *this;
    }
    ~Share() {
      if (total_ != nullptr) *total_ -= amount_;
    }
    /// Whether so much more still fits under `limit`; if so it is taken.
    [[nodiscard]] bool grow(std::size_t more, std::size_t limit);

   private:
    friend class Traffic;
    explicit Share(std::atomic<std::size_t>& total) : total_{&total} {}
    std::atomic<std::size_t>* total_ = nullptr;
    std::size_t amount_ = 0;
  };
  /// One request that is worked on; `overloaded`.
  [[nodiscard]] Result<Share> begin_work();
  /// Memory for a body, to be grown as it comes.
  [[nodiscard]] Share body() { return Share{body_bytes_}; }
  [[nodiscard]] Result<void> grow_body(Share& body, std::size_t more) const;

 private:
  [[nodiscard]] SteadyTime now() const { return clock_ == nullptr ? std::chrono::steady_clock::now() : clock_->steady(); }
  const ServerLimits& limits_;
  const Clock* clock_;
  ConnectionCounts connections_;
  RateLimiter per_address_;
  RateLimiter per_token_;
  RateLimiter per_group_;
  std::atomic<std::size_t> working_{0};
  std::atomic<std::size_t> body_bytes_{0};
};

}  // namespace cloister::http
