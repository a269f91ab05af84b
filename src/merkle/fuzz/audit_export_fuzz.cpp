// Exports from outside, under the key of a log that is known whole: what is accepted is a part of that log, however the
// bytes are cut into pieces.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "known_log.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace merkle = cloister::merkle;
  static const merkle::known::Log log;
  const auto text = cloister::as_text({data, size});
  std::uint64_t seen = 0;
  bool changed = false;
  const auto on_leaf = [&](std::uint64_t index, const merkle::AuditLeaf& leaf) {
    ++seen;
    changed = changed || index >= log.leaves.size() || merkle::encode(leaf).value() != log.leaves[static_cast<std::size_t>(index)];
  };
  merkle::ExportCheck check{{log.key.public_key()}, {{"kept", log.head(5)}}, on_leaf};
  check.feed(text);
  const auto& finding = check.finish();
  if (!finding && (changed || check.header().from + seen != check.head().head.tree_size || check.head().head.tree_size < 5)) {
    std::abort();
  }
  merkle::ExportCheck pieces{{log.key.public_key()}, {{"kept", log.head(5)}}};
  const auto half = size / 2;
  pieces.feed(text.substr(0, half));
  pieces.feed(text.substr(half));
  const auto& again = pieces.finish();
  if (again.has_value() != finding.has_value() || (finding && again->fault != finding->fault)) std::abort();
  return 0;
}
