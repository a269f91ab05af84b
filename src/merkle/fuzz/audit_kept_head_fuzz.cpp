// Heads that somebody kept: what is read is the same after it was written in either form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cloister/merkle/export.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace merkle = cloister::merkle;
  const auto head = merkle::read_kept_head({data, size});
  if (!head) return 0;
  const auto bytes = merkle::read_kept_head(merkle::encode(*head));
  if (!bytes || *bytes != *head) std::abort();
  if (head->head.time < cloister::UnixTime{} || head->head.tree_size > (std::uint64_t{1} << 62U)) return 0;
  const auto shown = cloister::codec::json::write(merkle::head_json(*head, {}));
  const auto text = merkle::read_kept_head(cloister::as_bytes(shown));
  // Years beyond 9999 are written, and not read.
  if (text && *text != *head) std::abort();
  return 0;
}
