#include "cli.hpp"

#include <algorithm>
#include <array>

#include "render.hpp"

namespace cloister::cli {
namespace {

constexpr std::array kCommands = {
    add_demo,   add_dev,     add_challenge, add_job,     add_validator, add_instance,
    add_secret, add_receipt, add_verify,    add_inspect, add_measure,   add_lab,
};

}  // namespace

void Context::fail(const Error& error, std::string_view remedy) {
  err << "cloister: " << printable(error.text());
  if (!remedy.empty()) err << " (" << remedy << ')';
  err << '\n';
  exit_code = kFailed;
}

int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err, const Clock& clock) {
  Context context{out, err, clock};
  CLI::App app{"Runs confidential workloads and proves it.", "cloister"};
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  for (const auto add : kCommands) add(app, context);
  try {
    std::ranges::reverse(arguments);  // as CLI11 takes a vector
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& stop) {
    // Help is a success; whatever else is wrong with the words of the command is our one usage code.
    return app.exit(stop, out, err) == 0 ? kOk : kFailed;
  }
  return context.exit_code;
}

}  // namespace cloister::cli
