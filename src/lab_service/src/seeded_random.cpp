#include "seeded_random.hpp"

#include <algorithm>

#include "cloister/codec/cbor.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab_service {

void SeededRandom::fill(std::span<std::uint8_t> out) {
  const std::lock_guard lock{mutex_};
  while (!out.empty()) {
    codec::cbor::Writer info;
    info.array(2).text("cloister/lab/1/random").uint(blocks_++);
    const auto block = crypto::hkdf32({}, seed_.reveal(), info.take());
    const auto part = block.reveal().first(std::min(out.size(), block.reveal().size()));
    std::ranges::copy(part, out.begin());
    out = out.subspan(part.size());
  }
}

}  // namespace cloister::lab_service
