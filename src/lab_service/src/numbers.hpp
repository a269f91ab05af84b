#pragma once

#include <cstdint>
#include <string>

namespace cloister::lab_service {

/// "0x1000".
[[nodiscard]] std::string hex_number(std::uint64_t value);

}  // namespace cloister::lab_service
