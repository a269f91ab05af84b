#include "change.hpp"

#include <algorithm>

#include "cloister/http/target.hpp"

namespace cloister::cli {

namespace json = codec::json;

void add_change_options(CLI::App& command, ChangeOptions& options) {
  auto* const tag =
      command.add_option("--if-match", options.if_match, "replace what has this ETag, and nothing that somebody changed since");
  command.add_flag("--force", options.force, "replace whatever there is")->excludes(tag);
}

Result<json::Value> put(client::Orchestrator& server, const std::string& path, const json::Value& body,
                        const ChangeOptions& options) {
  auto done = server.put(path, body, options.if_match);
  // There is one already, which does not matter here.
  if (!done && options.force && done.error().code() == Errc::conflict) return server.put(path, body, "*");
  return done;
}

std::string_view remedy_of_change(const Error& error) {
  if (error.code() != Errc::conflict) return {};
  return "look at what there is; --if-match ETAG replaces exactly that";
}

std::string encoded_path(std::string_view path) {
  std::string out;
  for (;;) {
    const auto end = std::min(path.find('/'), path.size());
    out += http::percent_encode(path.substr(0, end));
    if (end == path.size()) return out;
    out += '/';
    path.remove_prefix(end + 1);
  }
}

std::string text_member(const json::Value& value, std::string_view name) {
  const auto* found = value.find(name);
  return found == nullptr || found->as_string() == nullptr ? "" : *found->as_string();
}

}  // namespace cloister::cli
