#pragma once

#include <CLI/CLI.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

/// The frame that every command stands in. A family of commands is one file, which defines one `add_…` function;
/// `cli.cpp` lists them.
namespace cloister::cli {

/// What programs that call this one may rely on.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;    // usage, I/O, anything that kept the command from its answer
inline constexpr int kRejected = 2;  // the answer is no

/// What a command works with; outlives every callback.
struct Context {
  std::ostream& out;
  std::ostream& err;
  const Clock& clock;
  int exit_code = kOk;  // set by the command that ran

  /// One line on `err`: "cloister: code: detail", and the remedy: the one given, else what the code alone says. Sets
  /// `exit_code` to `kFailed`.
  void fail(const Error& error, std::string_view remedy = {});
};

/// Adds subcommands to `app`, whose callbacks do the work and set `context.exit_code`.
using AddCommands = void (*)(CLI::App& app, Context& context);
void add_verify(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_measure(CLI::App& app, Context& context);
void add_dev(CLI::App& app, Context& context);
void add_challenge(CLI::App& app, Context& context);
void add_job(CLI::App& app, Context& context);
void add_instance(CLI::App& app, Context& context);
void add_secret(CLI::App& app, Context& context);
void add_derived_key(CLI::App& app, Context& context);
void add_resource(CLI::App& app, Context& context);
void add_data_key(CLI::App& app, Context& context);
void add_policy(CLI::App& app, Context& context);
void add_reference_value(CLI::App& app, Context& context);
void add_demo(CLI::App& app, Context& context);
void add_login(CLI::App& app, Context& context);
void add_profile(CLI::App& app, Context& context);
void add_token(CLI::App& app, Context& context);
void add_revocation(CLI::App& app, Context& context);
void add_guest(CLI::App& app, Context& context);
void add_audit(CLI::App& app, Context& context);
void add_receipt(CLI::App& app, Context& context);
void add_lab(CLI::App& app, Context& context);
/// The commands of `lab exercise`, in `lab`.
void add_exercise(CLI::App& lab, Context& context);
void add_lab_snp_report(CLI::App& lab, Context& context);
void add_validator(CLI::App& app, Context& context);
void add_collateral(CLI::App& app, Context& context);
void add_server(CLI::App& app, Context& context);

/// The whole program: `arguments` without the program's name. Returns the exit code.
[[nodiscard]] int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err, const Clock& clock);

}  // namespace cloister::cli
