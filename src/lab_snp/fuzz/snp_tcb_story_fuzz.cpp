#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/lab_snp/tcb_story.hpp"

/// What reads, is written as it was read, and leads to the same; TCBs stay in order.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto created = from_micros(1'700'000'000'000'000);
  const auto story = lab_snp::read_tcb_story(created, as_text(ByteView{data, size}));
  if (!story) return 0;
  const auto again = lab_snp::read_tcb_story(created, lab_snp::write_tcb_story(*story));
  CLOISTER_ASSERT(again.ok());
  CLOISTER_ASSERT(again->acts() == story->acts());
  for (const auto product : lab_snp::kLabProducts) {
    const auto& platform = story->platform(product);
    CLOISTER_ASSERT(evidence::snp_tcb_gaps(platform.committed, platform.reported).empty());
    CLOISTER_ASSERT(evidence::snp_tcb_gaps(platform.current, platform.committed).empty());
    CLOISTER_ASSERT(evidence::snp_tcb_gaps(story->reached(product), platform.current).empty());
    CLOISTER_ASSERT(again->platform(product).reported == platform.reported);
    CLOISTER_ASSERT(again->withheld_since(product) == story->withheld_since(product));
  }
  return 0;
}
