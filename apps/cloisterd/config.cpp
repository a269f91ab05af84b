#include "config.hpp"

#include <arpa/inet.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <set>

#include <toml++/toml.h>

#include "cloister/codec/toml.hpp"
#include "cloister/collateral/service.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/crypto/hash.hpp"

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

  std::vector<std::string> texts(std::string_view key) {
    known_.emplace(key);
    const auto node = table_[key];
    if (!node) return {};
    std::vector<std::string> out;
    const auto* const list = node.as_array();
    if (list != nullptr) {
      for (const auto& one : *list) {
        if (auto value = one.value_exact<std::string>()) out.push_back(std::move(*value));
      }
    }
    if (list == nullptr || out.empty() || out.size() != list->size()) mistake(key, "a list of texts expected");
    return out;
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

  /// "64KiB", "256MiB", "2GiB".
  void size(std::string_view key, std::uint64_t& into, std::uint64_t max) {
    const auto value = text(key);
    if (!value) return;
    std::uint64_t number = 0;
    const auto* const end = value->data() + value->size();
    const auto [stopped, failure] = std::from_chars(value->data(), end, number);
    const std::string_view unit{stopped, static_cast<std::size_t>(end - stopped)};
    const unsigned shift = unit == "KiB" ? 10 : unit == "MiB" ? 20 : unit == "GiB" ? 30 : 64;
    if (failure != std::errc{} || shift == 64 || number == 0 || number > (max >> shift)) {
      return mistake(key, "a number and KiB, MiB or GiB, such as 256MiB, expected, at most " + std::to_string(max >> 30U) + "GiB");
    }
    into = number << shift;
  }

  void count(std::string_view key, std::uint32_t& into, std::uint32_t min, std::uint32_t max) {
    known_.emplace(key);
    const auto node = table_[key];
    if (!node) return;
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < min || *value > max) {
      return mistake(key, "a number from " + std::to_string(min) + " to " + std::to_string(max) + " expected");
    }
    into = static_cast<std::uint32_t>(*value);
  }

  void flag(std::string_view key, bool& into) {
    known_.emplace(key);
    const auto node = table_[key];
    if (!node) return;
    const auto value = node.value_exact<bool>();
    if (!value) return mistake(key, "true or false expected");
    into = *value;
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

bool is_loopback(const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24U) == 127;
  return ::inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::optional<log::Level> level_from(std::string_view text) {
  if (text == "debug") return log::Level::debug;
  if (text == "info") return log::Level::info;
  if (text == "warn") return log::Level::warn;
  if (text == "error") return log::Level::error;
  return std::nullopt;
}

void read_limits(const toml::table& from, Limits& limits, std::vector<std::string>& mistakes) {
  Table table{from, "limits.", mistakes};
  table.count("connections", limits.connections, 1, 65'536);
  table.count("pending_requests", limits.pending_requests, 1, 65'536);
  table.count("requests_per_second_per_address", limits.requests_per_second_per_address, 1, 1'000'000);
  table.count("requests_per_second_per_token", limits.requests_per_second_per_token, 1, 1'000'000);
  table.count("requests_per_second_per_tenant", limits.requests_per_second_per_tenant, 1, 1'000'000);
  table.refuse_unknown();
}

void read_key_broker(const toml::table& from, const std::filesystem::path& directory, KeyBroker& broker,
                     std::vector<std::string>& mistakes) {
  Table table{from, "key_broker.", mistakes};
  const auto path = [&](std::string_view key, std::optional<std::filesystem::path>& into) {
    if (const auto value = table.text(key)) into = directory / *value;
  };
  if (const auto tenant = table.text("tenant")) {
    if (!valid_id(*tenant)) table.mistake("tenant", "1 to 64 characters of [a-z0-9-_.] expected");
    broker.tenant = *tenant;
  }
  path("attestation_policy", broker.attestation_policy);
  path("resource_policy", broker.resource_policy);
  path("reference_values", broker.reference_values);
  table.flag("sample_evidence", broker.sample_evidence);
  table.flag("protocol_administration", broker.protocol_administration);
  table.count("max_resources", broker.max_resources, 1, 10'000'000);
  table.size("max_resource_bytes", broker.max_resource_bytes, std::uint64_t{1} << 40);
  table.refuse_unknown();
}

void read_tee(const toml::table& from, const std::filesystem::path& directory, Tee& tee, std::vector<std::string>& mistakes) {
  Table table{from, "tee.", mistakes};
  const auto name = table.required("device");
  const auto kind = device::parse_device_kind(name);
  const bool known = kind && *kind != device::DeviceKind::sev_guest;
  if (known) {
    tee.device = *kind;
  } else if (!name.empty()) {
    table.mistake("device", "\"configfs-tsm\", \"tdx-guest\" or \"lab-socket\" expected: the server's configuration is measured into a TD's "
                            "register, which SEV-SNP has not");
  }
  const auto path = [&](std::string_view key, std::optional<std::filesystem::path>& into) {
    if (const auto value = table.text(key)) into = directory / *value;
  };
  path("socket", tee.socket);
  path("collateral", tee.collateral);
  if (known && tee.socket.has_value() != (tee.device == device::DeviceKind::lab_socket)) {
    table.mistake("socket", "the path of `cloister lab device`'s socket expected, for \"lab-socket\" alone");
  }
  table.refuse_unknown();
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

namespace {

/// Everything but a mistake of TOML itself is in `mistakes`.
Result<Config> read_config(std::string_view text, const std::filesystem::path& directory,
                           std::vector<std::string>& mistakes) {
  // What is no TOML never gets to toml++ 3.3, which bounds nothing and ends the process on some of it ("[=").
  if (const auto read = codec::parse_toml(text); !read && read.error().code() != Errc::unsupported) {
    return Error{Errc::configuration_invalid, read.error().detail()};
  }
  const auto parsed = toml::parse(text);
  if (!parsed) {
    const auto& where = parsed.error().source().begin;
    return Error{Errc::configuration_invalid, "line " + std::to_string(where.line) + ", column " +
                                                  std::to_string(where.column) + ": " +
                                                  std::string{parsed.error().description()}};
  }
  Table root{parsed.table(), "", mistakes};
  const auto path = [&](const std::string& value) {
    return value.empty() ? std::filesystem::path{} : directory / value;
  };
  Config config;
  config.digest = crypto::sha256(as_bytes(text));
  config.data = path(root.required("data"));
  config.guest = path(root.required("guest"));
  if (const auto* services = root.table("collateral_services")) {
    Table table{*services, "collateral_services.", mistakes};
    config.collateral_services.emplace();
    config.collateral_services->folder = path(table.required("folder"));
    config.collateral_services->services = table.texts("services");
    config.collateral_services->kds_services = table.texts("kds_services");
    const auto check_addresses = [&](std::string_view member, collateral::Endpoint::Kind kind, const auto& urls) {
      for (const auto& url : urls) {
        if (const auto endpoint = collateral::parse_endpoint(kind, url); !endpoint) table.mistake(member, endpoint.error().detail());
      }
    };
    check_addresses("services", collateral::Endpoint::Kind::pcs, config.collateral_services->services);
    check_addresses("kds_services", collateral::Endpoint::Kind::kds, config.collateral_services->kds_services);
    if (const auto ca = table.text("ca")) config.collateral_services->ca = path(*ca);
    table.refuse_unknown();
    if (root.text("collateral")) root.mistake("collateral", "either this or [collateral_services]");
  } else {
    config.collateral = path(root.required("collateral"));
  }
  if (const auto trust = root.text("trust")) config.trust = path(*trust);
  if (const auto text_of_uri = root.text("kms")) {
    auto uri = kms::parse_pkcs11_uri(*text_of_uri);
    if (uri) {
      config.kms = *std::move(uri);
    } else {
      root.mistake("kms", uri.error().detail());
    }
  }
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
  } else if (!is_loopback(config.address)) {
    root.mistake("listen", config.address + " is beyond loopback, which needs a certificate: add [tls], or listen on 127.0.0.1");
  }
  if (const auto* broker = root.table("key_broker")) {
    config.key_broker.emplace();
    read_key_broker(*broker, directory, *config.key_broker, mistakes);
  }
  if (const auto* tee = root.table("tee")) read_tee(*tee, directory, config.tee.emplace(), mistakes);
  if (const auto* limits = root.table("limits")) read_limits(*limits, config.limits, mistakes);
  root.refuse_unknown();
  return config;
}

void check_files(const Config& config, std::vector<std::string>& mistakes) {
  const auto check = [&mistakes](std::string_view name, const std::filesystem::path& path) {
    if (!path.empty() && ::access(path.c_str(), R_OK) != 0) {
      mistakes.push_back(std::string{name} + ": cannot read " + path.string() + ": " +
                         std::generic_category().message(errno));
    }
  };
  check("guest", config.guest);
  check("collateral", config.collateral);
  if (config.collateral_services && config.collateral_services->ca) check("collateral_services.ca", *config.collateral_services->ca);
  if (config.trust) check("trust", *config.trust);
  if (config.kms) check("kms: module-path", config.kms->module);
  if (config.kms) check("kms: pin-source", config.kms->pin_file);
  if (config.key_broker) {
    const auto& broker = *config.key_broker;
    if (broker.attestation_policy) check("key_broker.attestation_policy", *broker.attestation_policy);
    if (broker.resource_policy) check("key_broker.resource_policy", *broker.resource_policy);
    if (broker.reference_values) check("key_broker.reference_values", *broker.reference_values);
  }
  if (config.tee && config.tee->collateral) check("tee.collateral", *config.tee->collateral);
  if (config.tls_certificate) check("tls.certificate", *config.tls_certificate);
  if (config.tls_key) check("tls.key", *config.tls_key);
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::filesystem::path& directory) {
  std::vector<std::string> mistakes;
  CLOISTER_TRY(config, read_config(text, directory, mistakes));
  if (!mistakes.empty()) return refused(mistakes);
  return config;
}

Result<Config> load_config(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text;
  if (in) text.assign(std::istreambuf_iterator<char>(in), {});
  if (!in || in.bad()) {
    return Error{Errc::configuration_invalid, "cannot read " + file.string() + ": " + std::generic_category().message(errno)};
  }
  std::vector<std::string> mistakes;
  auto config = read_config(text, std::filesystem::absolute(file).parent_path(), mistakes);
  if (!config) return config.error().in(file.string());
  check_files(*config, mistakes);
  for (auto& mistake : mistakes) mistake = file.string() + ": " + mistake;
  if (!mistakes.empty()) return refused(mistakes);
  return config;
}

}  // namespace cloister::server
