#pragma once

#include "cli.hpp"

namespace cloister::cli {

/// `cloister lab device`.
void add_lab_device(CLI::App& lab, Context& context);

}  // namespace cloister::cli
