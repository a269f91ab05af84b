#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cloister/client/orchestrator.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"

/// Changes of what several administrators may change.
namespace cloister::cli {

/// What the command line says was seen of what is changed.
struct ChangeOptions {
  std::optional<std::string> if_match;
  bool force = false;
};
void add_change_options(CLI::App& command, ChangeOptions& options);

/// Sets what the API has under that path: what nobody has set, what has the ETag, or by force whatever there is.
[[nodiscard]] Result<codec::json::Value> put(client::Orchestrator& server, const std::string& path, const codec::json::Value& body,
                                             const ChangeOptions& options);
/// What can be done about a change that was refused since there is something else; empty for other errors.
[[nodiscard]] std::string_view remedy_of_change(const Error& error);
/// Each segment percent-encoded, with the slashes between them.
[[nodiscard]] std::string encoded_path(std::string_view path);
/// A member that is a text, else an empty one.
[[nodiscard]] std::string text_member(const codec::json::Value& value, std::string_view name);

}  // namespace cloister::cli
