#include "traffic.hpp"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <utility>

namespace cloister::http {
namespace {

constexpr std::size_t kMaxBuckets = 65'536;
constexpr std::string_view kOthers = "others";  // share one bucket while there are that many
constexpr std::size_t kNetworkBytes = 8;

}  // namespace

RateLimiter::Bucket RateLimiter::filled(Bucket bucket, SteadyTime now) const {
  const std::chrono::duration<double> passed = std::max(now - bucket.seen, SteadyTime::duration::zero());
  bucket.tokens = std::min(2 * per_second_, bucket.tokens + passed.count() * per_second_);
  bucket.seen = std::max(bucket.seen, now);
  return bucket;
}

void RateLimiter::forget_full(SteadyTime now) {
  std::erase_if(buckets_, [&](const auto& entry) { return filled(entry.second, now).tokens >= 2 * per_second_; });
}

bool RateLimiter::admit(std::string_view key, SteadyTime now) {
  if (per_second_ == 0) return true;
  const std::lock_guard lock{mutex_};
  std::string name{key};
  if (buckets_.size() >= kMaxBuckets && !buckets_.contains(name)) forget_full(now);
  if (buckets_.size() >= kMaxBuckets && !buckets_.contains(name)) name = kOthers;
  auto& bucket = buckets_.try_emplace(std::move(name), Bucket{2 * per_second_, now}).first->second;
  bucket = filled(bucket, now);
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

std::optional<std::string> address_key(const std::string& remote_address) {
  boost::system::error_code none;
  const auto address = boost::asio::ip::make_address(remote_address, none);
  if (none || address.is_loopback()) return std::nullopt;
  if (!address.is_v6()) return remote_address;
  const auto v6 = address.to_v6().to_bytes();
  return std::string(v6.begin(), v6.begin() + kNetworkBytes);
}

ConnectionCounts::Slot ConnectionCounts::add(const std::string& remote_address) {
  auto key = address_key(remote_address);
  if (!key) return {};
  const std::lock_guard lock{mutex_};
  const auto number = ++counts_[*key];
  return Slot{*this, *std::move(key), number};
}

ConnectionCounts::Slot::~Slot() {
  if (counts_ == nullptr) return;
  const std::lock_guard lock{counts_->mutex_};
  const auto found = counts_->counts_.find(key_);
  if (--found->second == 0) counts_->counts_.erase(found);
}

Result<void> Traffic::admit_address(const std::string& remote_address) {
  const auto key = address_key(remote_address);
  if (!key || per_address_.admit(*key, now())) return {};
  return Error{Errc::rate_limited, "more requests from this address than " +
                                       std::to_string(limits_.requests_per_address) + " a second"};
}

Result<void> Traffic::admit_token(const std::string& token_id) {
  if (per_token_.admit(token_id, now())) return {};
  return Error{Errc::rate_limited, "more requests with this token than " + std::to_string(limits_.requests_per_token) +
                                       " a second"};
}

Result<void> Traffic::admit_group(const std::string& group) {
  if (per_group_.admit(group, now())) return {};
  return Error{Errc::rate_limited, "more requests of this tenant than " + std::to_string(limits_.requests_per_group) + " a second"};
}

bool Traffic::Share::grow(std::size_t more, std::size_t limit) {
  if (total_->fetch_add(more) + more > limit) {
    *total_ -= more;
    return false;
  }
  amount_ += more;
  return true;
}

Result<Traffic::Share> Traffic::begin_work() {
  Share share{working_};
  if (!share.grow(1, limits_.max_pending)) {
    return Error{Errc::overloaded, std::to_string(limits_.max_pending) + " requests are being worked on"};
  }
  return share;
}

Result<void> Traffic::grow_body(Share& body, std::size_t more) const {
  if (body.grow(more, limits_.max_body_memory)) return {};
  return Error{Errc::overloaded, "the server holds as many bodies as it may"};
}

}  // namespace cloister::http
