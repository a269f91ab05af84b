#include <memory>

#include "cli.hpp"
#include "connection.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace json = codec::json;

struct Options {
  ConnectionOptions connection;
  std::optional<std::string> tenant;
  bool resume = false;
  bool json = false;
};

std::uint64_t number_in(const json::Value& answer, std::string_view name) {
  const auto* value = answer.find(name);
  return value == nullptr ? 0 : value->as_uint().value_or(0);
}

Result<std::optional<TenantId>> tenant_of(const Options& options) {
  if (!options.tenant) return std::optional<TenantId>{};
  CLOISTER_TRY(tenant, TenantId::parse(*options.tenant));
  return std::optional{std::move(tenant)};
}

void say(const Options& options, Context& context, const json::Value& answer) {
  if (options.json) context.out << json::write(answer) << '\n';
  else print_plain(context.out, answer);
}

Result<void> show(const Options& options, Context& context) {
  CLOISTER_TRY(tenant, tenant_of(options));
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(answer, server.get("data-key" + (tenant ? "?tenant=" + tenant->str() : std::string{})));
  say(options, context, answer);
  return {};
}

/// Step by step, each of which is done when it is answered: whoever is interrupted goes on with --resume.
Result<void> rotate(const Options& options, Context& context) {
  CLOISTER_TRY(tenant, tenant_of(options));
  CLOISTER_TRY(server, connect(options.connection));
  if (!options.resume) {
    CLOISTER_TRY(rotated, server.act_on_data_key("rotate", tenant));
    static_cast<void>(rotated);
  }
  std::uint64_t done = 0;
  for (;;) {
    CLOISTER_TRY(step, server.act_on_data_key("reseal", tenant));
    const auto resealed = number_in(step, "resealed");
    const auto remaining = number_in(step, "remaining");
    done += resealed;
    context.err << done << " of " << done + remaining << " values are sealed again\n";
    if (remaining == 0) {
      step.set("resealed", done);
      say(options, context, step);
      return {};
    }
    if (resealed == 0) return Error{Errc::internal, "the server sealed nothing again, and " + std::to_string(remaining) + " values remain"};
  }
}

}  // namespace

void add_data_key(CLI::App& app, Context& context) {
  auto* data_key = app.add_subcommand("data-key", "The key that a tenant's stored values are sealed under");
  data_key->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto command = [&](const std::string& name, const std::string& what, Result<void> (*work)(const Options&, Context&)) {
    auto* out = data_key->add_subcommand(name, what);
    add_connection_options(*out, options->connection);
    out->add_option("--tenant", options->tenant, "another tenant than your own, for administrators of the server; `system`: the server's own values");
    out->add_flag("--json", options->json, "the API's answer");
    out->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error());
    });
    return out;
  };
  command("show", "Which key it is, and how many values are still sealed under older ones", show);
  command("rotate", "Make a new key, seal every value again under it, and erase the older ones", rotate)
      ->add_flag("--resume", options->resume, "go on with a rotation that was interrupted, without another new key");
}

}  // namespace cloister::cli
