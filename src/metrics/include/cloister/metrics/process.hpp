#pragma once

#include "cloister/core/result.hpp"
#include "cloister/metrics/text_writer.hpp"

namespace cloister::metrics {

/// The standard `process_…` families of this process, from /proc: CPU time, memory, descriptors, threads, start.
/// `io_error` when /proc is not there; nothing is written then.
[[nodiscard]] Result<void> write_process(TextWriter& out);

}  // namespace cloister::metrics
