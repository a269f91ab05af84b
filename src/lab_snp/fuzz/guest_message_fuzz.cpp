#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/lab_snp/guest_message.hpp"

/// What opens under the key was sealed under it, bit for bit.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  static const lab_snp::Vmpck key{ByteArray<32>{}};
  const ByteView bytes{data, size};
  const auto within = lab_snp::message_in(bytes);
  CLOISTER_ASSERT(same_bytes(within, bytes.first(within.size())));
  const auto opened = lab_snp::open_message(key, bytes);
  if (!opened) return 0;
  CLOISTER_ASSERT(lab_snp::vmpck_of(bytes) == opened->vmpck);
  CLOISTER_ASSERT(same_bytes(lab_snp::seal_message(key, *opened), bytes));
  return 0;
}
