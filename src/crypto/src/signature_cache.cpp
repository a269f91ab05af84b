#include "cloister/crypto/signature_cache.hpp"

#include <algorithm>

#include "public_digest.hpp"

namespace cloister::crypto {

SignatureCache::SignatureCache(Random& random, std::size_t capacity)
    : places_(std::max<std::size_t>(1, (capacity + kWays - 1) / kWays)) {
  random.fill(salt_);
}

SignatureCache::Id SignatureCache::id(Scheme scheme, ByteView key, ByteView digest, ByteView signature) const {
  std::array<std::uint8_t, 1 + 3 * 4> head{static_cast<std::uint8_t>(scheme)};
  std::size_t at = 1;
  for (const auto size : {key.size(), digest.size(), signature.size()}) {
    for (unsigned shift = 0; shift < 32; shift += 8) head[at++] = static_cast<std::uint8_t>(size >> shift);
  }
  return public_sha256({ByteView{salt_}, ByteView{head}, key, digest, signature});
}

std::size_t SignatureCache::place_of(const Id& id) const noexcept {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof number; ++i) number = number << 8U | id[i];
  return static_cast<std::size_t>(number % places_.size());
}

bool SignatureCache::holds(const Id& id) const noexcept {
  const auto index = place_of(id);
  const std::lock_guard guard{locks_[index % kLocks]};
  const auto& place = places_[index];
  const auto end = place.ids.begin() + std::min<std::size_t>(place.used, kWays);
  return std::find(place.ids.begin(), end, id) != end;
}

void SignatureCache::add(const Id& id) noexcept {
  const auto index = place_of(id);
  const std::lock_guard guard{locks_[index % kLocks]};
  auto& place = places_[index];
  const auto end = place.ids.begin() + std::min<std::size_t>(place.used, kWays);
  if (std::find(place.ids.begin(), end, id) != end) return;
  place.ids[place.used % kWays] = id;
  // Counting on beyond kWays only to know which is the oldest; it stays above kWays when it wraps.
  place.used = place.used + 1 == 0 ? kWays : place.used + 1;
}

std::size_t SignatureCache::size() const noexcept {
  std::size_t count = 0;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const std::lock_guard guard{locks_[i % kLocks]};
    count += std::min<std::size_t>(places_[i].used, kWays);
  }
  return count;
}

Result<void> verify_digest(const EcPublicKey& key, ByteView digest, ByteView signature, SignatureCache* cache) {
  if (cache == nullptr) return key.verify_digest(digest, signature);
  const auto id = cache->id(SignatureCache::Scheme::ecdsa_fixed, key.xy(), digest, signature);
  if (cache->holds(id)) return {};
  if (auto valid = key.verify_digest(digest, signature); !valid) return valid;
  cache->add(id);
  return {};
}

}  // namespace cloister::crypto
