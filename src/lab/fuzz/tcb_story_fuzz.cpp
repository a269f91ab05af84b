#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/lab/tcb_story.hpp"

/// What reads, is written as it was read, and leads to the same; levels stay in descending order.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto created = from_micros(1'700'000'000'000'000);
  const auto story = lab::read_tcb_story(created, as_text(ByteView{data, size}));
  if (!story) return 0;
  const auto again = lab::read_tcb_story(created, lab::write_tcb_story(*story));
  CLOISTER_ASSERT(again.ok());
  CLOISTER_ASSERT(again->acts() == story->acts());
  CLOISTER_ASSERT(again->machine() == story->machine());
  CLOISTER_ASSERT(again->clock_offset == story->clock_offset);
  const auto& published = story->newest().published;
  for (std::size_t i = 1; i < published.levels.size(); ++i) {
    CLOISTER_ASSERT(published.levels[i - 1].sgx[0].svn >= published.levels[i].sgx[0].svn);
  }
  CLOISTER_ASSERT(story->offered().published.evaluation_data_number <= published.evaluation_data_number);
  return 0;
}
