#pragma once

#include "cli.hpp"

namespace cloister::cli {

/// `cloister token verify`: the one subcommand of `token` that is about others' tokens, and needs no server.
void add_token_verify(CLI::App& token, Context& context);

}  // namespace cloister::cli
