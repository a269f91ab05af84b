#pragma once

#include "cloister/process/descriptor.hpp"

namespace cloister::lab_host {

/// Readable once one of the signals that end a service has come; blocks them for the calling thread.
[[nodiscard]] Result<process::UniqueFd> ending_signals();

}  // namespace cloister::lab_host
