#include "cloister/attestation/verification_cache.hpp"

#include <algorithm>
#include <cstring>

#include "cloister/crypto/hash.hpp"

namespace cloister::attestation {

VerificationCache::VerificationCache(Random& random, Limits limits)
    : signatures_{random, limits.signatures}, most_chains_{std::max<std::size_t>(1, limits.chains / 2)} {
  random.fill(salt_);
}

std::size_t VerificationCache::Hash::operator()(const Digest32& id) const noexcept {
  std::size_t out = 0;
  std::memcpy(&out, id.data(), sizeof out);
  return out;
}

Digest32 VerificationCache::id_of(ByteView data) const { return crypto::sha256({ByteView{salt_}, data}); }

ParsedChainPtr VerificationCache::find_chain(ByteView data) {
  const auto id = id_of(data);
  const std::lock_guard guard{lock_};
  if (const auto found = newer_.find(id); found != newer_.end()) return found->second;
  const auto found = older_.find(id);
  if (found == older_.end()) return nullptr;
  if (newer_.size() == most_chains_) return found->second;
  // In use, so not to be forgotten with the older ones.
  return newer_.insert(older_.extract(found)).position->second;
}

void VerificationCache::keep_chain(ByteView data, ParsedChainPtr chain) {
  const auto id = id_of(data);
  const std::lock_guard guard{lock_};
  if (newer_.contains(id)) return;
  if (newer_.size() == most_chains_) {
    older_ = std::move(newer_);
    newer_ = {};
  }
  newer_.emplace(id, std::move(chain));
}

std::size_t VerificationCache::chains() const {
  const std::lock_guard guard{lock_};
  return newer_.size() + older_.size();
}

}  // namespace cloister::attestation
