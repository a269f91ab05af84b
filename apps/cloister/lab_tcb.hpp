#pragma once

#include "cli.hpp"
#include "cloister/lab/platform.hpp"

namespace cloister::cli {

/// `lab tcb`, `lab clock` and `lab quote`: what becomes of a platform, and what it says of itself.
void add_lab_tcb(CLI::App& lab, Context& context);
/// The option --format, of quotes that a platform makes.
void add_quote_format(CLI::App& command, lab::QuoteFormat& format);

}  // namespace cloister::cli
