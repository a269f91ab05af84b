#include <cstdlib>

#include "../src/frames.hpp"

/// What either side of an evaluation reads. An answer that can be read is written the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  using namespace cloister::rego;
  const ByteView frame{data, size};
  static_cast<void>(read_request(frame));
  const auto answer = read_answer_frame(frame);
  if (answer && !read_answer_frame(write(*answer))) std::abort();
  return 0;
}
