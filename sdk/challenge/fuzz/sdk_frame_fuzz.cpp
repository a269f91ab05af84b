// Frames of a guest: what is accepted keeps the promises of its type.
#include <cstdlib>

#include "frames.hpp"

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  const auto text = as_text(ByteView{data, size});
  require(sdk::log_frame(sdk::LogLevel::info, text).size() < 4200);
  auto message = sdk::decode(ByteView{data, size});
  if (!message) return 0;
  if (const auto* job = std::get_if<sdk::Job>(&*message)) {
    require(!job->id.empty() && job->id.size() <= 64 && job->payload.size() <= size);
  }
  return 0;
}
