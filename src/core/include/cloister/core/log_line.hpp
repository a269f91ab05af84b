#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "cloister/core/log.hpp"
#include "cloister/core/time.hpp"

namespace cloister::log {

enum class Format { text, json };

/// The line of one event, with its newline. Whatever the values hold, it is one line, valid JSON in that format, and
/// nothing in it steers a terminal: control and direction characters are escaped, what is no UTF-8 is replaced.
[[nodiscard]] std::string format_line(Format format, UnixTime time, Level level, std::string_view component,
                                      std::string_view event, std::initializer_list<Field> fields);

}  // namespace cloister::log
