#pragma once

#include <ostream>
#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"

/// JSON as lines for people.
namespace cloister::cli {

/// The text with control characters replaced by '?': what others wrote must not speak to the terminal.
[[nodiscard]] std::string printable(std::string_view text);

/// "name: value" lines, members of objects and lists indented under their name.
void print_plain(std::ostream& out, const codec::json::Value& value, unsigned indent = 0);

}  // namespace cloister::cli
