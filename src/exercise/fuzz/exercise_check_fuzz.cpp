#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/exercise/exercise.hpp"

/// A student's file: the first byte says of which exercise, the second which of its files the rest is. Whatever is in it,
/// the attempt is judged or refused by name, and never for more points than there are.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  if (size < 2) return 0;
  const auto& exercises = exercise::all();
  const auto& one = exercises[data[0] % exercises.size()];
  auto files = one.start();
  auto changed = files.begin();
  std::advance(changed, data[1] % files.size());
  changed->second = std::string{as_text(ByteView{data, size}.subspan(2))};
  const auto verdict = one.check(files);
  if (!verdict) {
    CLOISTER_ASSERT(verdict.error().detail().find(changed->first) != std::string::npos);
    return 0;
  }
  CLOISTER_ASSERT(verdict->score <= verdict->points && !verdict->log.events().empty());
  CLOISTER_ASSERT(codec::json::parse(codec::json::write(exercise::to_json(verdict->log))).ok());
  return 0;
}
