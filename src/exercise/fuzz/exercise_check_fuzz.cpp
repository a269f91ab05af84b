#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/exercise/exercise.hpp"

/// A student's file: the first line names exercise and file, "epc-replay attempt.json", the rest is what is in it. Whatever
/// that is, the attempt is judged or refused by the file's name, and never for more points than there are.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto text = as_text({data, size});
  const auto space = text.find(' ');
  const auto line = text.find('\n');
  if (line == std::string_view::npos || space > line) return 0;
  const auto one = exercise::find(text.substr(0, space));
  if (!one) return 0;
  auto files = one->start();
  const auto changed = files.find(text.substr(space + 1, line - space - 1));
  if (changed == files.end()) return 0;
  changed->second = std::string{text.substr(line + 1)};
  const auto verdict = one->check(files);
  if (!verdict) {
    CLOISTER_ASSERT(verdict.error().detail().starts_with(changed->first));
    return 0;
  }
  CLOISTER_ASSERT(verdict->score <= verdict->points);
  CLOISTER_ASSERT(codec::json::parse(codec::json::write(exercise::to_json(verdict->log))).ok());
  return 0;
}
