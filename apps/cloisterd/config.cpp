#include "config.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <set>

#include <toml++/toml.h>

namespace cloister::server {
namespace {

using std::chrono::milliseconds;

/// Reads members of one table, and keeps every mistake.
class Table {
 public:
  Table(const toml::table& table, std::string prefix, std::vector<std::string>& mistakes)
      : table_{table}, prefix_{std::move(prefix)}, mistakes_{mistakes} {}

  std::optional<std::string> text(std::string_view key) {
    known_.emplace(key);
    const auto node = table_[key];
    if (!node) return std::nullopt;
    auto value = node.value_exact<std::string>();
    if (!value || value->empty()) mistake(key, "a text expected");
    return value;
  }

  std::string required(std::string_view key) {
    if (!table_.contains(key)) mistake(key, "missing");
    return text(key).value_or("");
  }

  void duration(std::string_view key, milliseconds& into, milliseconds min, milliseconds max) {
    const auto value = text(key);
    if (!value) return;
    auto parsed = parse_duration(*value);
    if (!parsed) return mistake(key, parsed.error().detail());
    if (*parsed < min || *parsed > max) {
      return mistake(key, "from " + std::to_string(min.count()) + "ms to " + std::to_string(max.count()) + "ms expected");
    }
    into = *parsed;
  }

  const toml::table* table(std::string_view key) {
    known_.emplace(key);
    const auto node = table_[key];
    if (!node) return nullptr;
    if (!node.is_table()) mistake(key, "a table expected");
    return node.as_table();
  }

  void mistake(std::string_view key, std::string_view what) {
    mistakes_.push_back(prefix_ + std::string{key} + ": " + std::string{what});
  }

  void refuse_unknown() {
    for (const auto& [key, value] : table_) {
      if (!known_.contains(key.str())) mistake(key.str(), "no such setting");
    }
  }

 private:
  const toml::table& table_;
  std::string prefix_;
  std::vector<std::string>& mistakes_;
  std::set<std::string, std::less<>> known_;
};

/// "host:port", where the host is a numeric address; IPv6 in brackets.
bool split_listen(std::string_view text, std::string& address, std::uint16_t& port) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  auto host = text.substr(0, colon);
  const auto digits = text.substr(colon + 1);
  if (host.starts_with('[') != host.ends_with(']')) return false;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (failure != std::errc{} || end != digits.data() + digits.size() || digits.empty() || host.empty()) return false;
  address = host;
  return true;
}

std::optional<log::Level> level_from(std::string_view text) {
  if (text == "debug") return log::Level::debug;
  if (text == "info") return log::Level::info;
  if (text == "warn") return log::Level::warn;
  if (text == "error") return log::Level::error;
  return std::nullopt;
}

Error refused(const std::vector<std::string>& mistakes) {
  std::string detail;
  for (const auto& mistake : mistakes) detail += (detail.empty() ? "" : "\n") + mistake;
  return Error{Errc::configuration_invalid, std::move(detail)};
}

}  // namespace

Result<milliseconds> parse_duration(std::string_view text) {
  std::int64_t count = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit{end, static_cast<std::size_t>(text.data() + text.size() - end)};
  std::int64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s") factor = 1000;
  if (unit == "m") factor = 60'000;
  if (unit == "h") factor = 3'600'000;
  if (failure != std::errc{} || factor == 0 || count <= 0 || count > 1'000'000'000 / factor) {
    return Error{Errc::malformed, "a duration such as \"30s\", \"5m\" or \"1h\" expected"};
  }
  return milliseconds{count * factor};
}

Result<Config> parse_config(std::string_view text, const std::filesystem::path& directory) {
  const auto parsed = toml::parse(text);
  if (!parsed) {
    const auto& where = parsed.error().source().begin;
    return Error{Errc::configuration_invalid, "line " + std::to_string(where.line) + ", column " +
                                                  std::to_string(where.column) + ": " +
                                                  std::string{parsed.error().description()}};
  }
  std::vector<std::string> mistakes;
  Table root{parsed.table(), "", mistakes};
  const auto path = [&](const std::string& value) {
    return value.empty() ? std::filesystem::path{} : directory / value;
  };
  Config config;
  config.data = path(root.required("data"));
  config.guest = path(root.required("guest"));
  config.collateral = path(root.required("collateral"));
  if (const auto trust = root.text("trust")) config.trust = path(*trust);
  if (const auto listen = root.text("listen"); listen && !split_listen(*listen, config.address, config.port)) {
    root.mistake("listen", "an address and a port such as \"127.0.0.1:7443\" expected");
  }
  root.duration("session_lifetime", config.session_lifetime, milliseconds{60'000}, milliseconds{24 * 3'600'000});
  root.duration("lease", config.lease, milliseconds{1000}, milliseconds{600'000});
  if (const auto level = root.text("log_level")) {
    const auto known = level_from(*level);
    if (!known) root.mistake("log_level", "\"debug\", \"info\", \"warn\" or \"error\" expected");
    config.log_level = known.value_or(config.log_level);
  }
  if (const auto* tls = root.table("tls")) {
    Table table{*tls, "tls.", mistakes};
    config.tls_certificate = path(table.required("certificate"));
    config.tls_key = path(table.required("key"));
    table.refuse_unknown();
  }
  root.refuse_unknown();
  if (!mistakes.empty()) return refused(mistakes);
  return config;
}

Result<Config> load_config(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error{Errc::configuration_invalid, "cannot read " + file.string()};
  const std::string text(std::istreambuf_iterator<char>(in), {});
  auto config = parse_config(text, std::filesystem::absolute(file).parent_path());
  if (!config) return config.error().in(file.string());
  return config;
}

}  // namespace cloister::server
