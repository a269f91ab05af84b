#include "cloister/collateral_cache/cache.hpp"

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <memory>
#include <thread>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/collateral/needs.hpp"
#include "cloister/collateral/transfer.hpp"
#include "cloister/evidence/detect.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
using collateral::Document;
using collateral::Endpoint;
using collateral::Entry;
using collateral::Key;
using collateral::Store;

constexpr std::size_t kMaxAuthorities = 1U << 20;
constexpr std::size_t kMaxCollateralKeys = 1024;

struct Options {
  std::optional<fs::path> cache;
  std::optional<fs::path> evidence;
  std::vector<std::string> keys;
  std::string product;
  bool early = false;
  bool json = false;
  // fetch
  std::vector<std::string> urls;
  std::vector<std::string> kds_urls;
  std::optional<fs::path> ca;
  unsigned wait_s = 60;
  // import, export
  fs::path path;
  // check
  std::string at;
  unsigned within_days = 0;
};

Result<fs::path> cache_folder(const Options& options) {
  if (options.cache) return *options.cache;
  const auto variable = [](const char* name) -> fs::path {
    const char* const value = std::getenv(name);
    return value == nullptr ? fs::path{} : fs::path{value};
  };
  const auto given = variable("XDG_CACHE_HOME");
  if (given.is_absolute()) return given / "cloister" / "collateral";
  const auto home = variable("HOME");
  if (home.empty()) return Error{Errc::invalid_argument, "neither XDG_CACHE_HOME nor HOME says where the cache is"};
  return home / ".cache" / "cloister" / "collateral";
}

Result<std::unique_ptr<Store>> open_store(const Options& options) {
  CLOISTER_TRY(folder, cache_folder(options));
  return Store::open(std::move(folder));
}

Result<std::optional<collateral::Product>> product_of(const Options& options) {
  if (options.product.empty()) return std::optional<collateral::Product>{};
  const auto product = collateral::product_from_string(options.product);
  if (!product) return Error{Errc::invalid_argument, "--product: Milan, Genoa or Turin expected"};
  return product;
}

Result<std::vector<Key>> keys_of_evidence(const Options& options) {
  CLOISTER_TRY(file, read_file(*options.evidence, evidence::kMaxEvidenceFileSize));
  CLOISTER_TRY(found, evidence::detect(file));
  if (found.kind == evidence::EvidenceKind::snp_report) {
    CLOISTER_TRY(product, product_of(options));
    return collateral::keys_of_snp_report(found.bytes, product);
  }
  if (found.kind == evidence::EvidenceKind::unknown) {
    return Error{Errc::evidence_unsupported, options.evidence->string() + ": neither a quote nor an SEV-SNP report"};
  }
  CLOISTER_TRY(quote, evidence::parse_quote(found.bytes));
  return collateral::keys_of(collateral::wanted_by(quote), {.early = options.early, .number = std::nullopt});
}

/// What the evidence needs, then what was named; each once.
Result<std::vector<Key>> wanted_keys(const Options& options) {
  std::vector<Key> out;
  if (options.evidence) {
    CLOISTER_TRY(keys, keys_of_evidence(options));
    out = std::move(keys);
  }
  for (const auto& text : options.keys) {
    CLOISTER_TRY(key, collateral::parse_key(text));
    if (std::ranges::find(out, key) == out.end()) out.push_back(std::move(key));
  }
  if (out.size() > kMaxCollateralKeys) return Error{Errc::limit_exceeded, "more than 1024 documents"};
  return out;
}

json::Object to_json(const Document& document) {
  json::Object out{{"kind", collateral::kind_of(document.key)},
                   {"key", to_string(document.key)},
                   {"issued", to_rfc3339(document.issued)},
                   {"expires", to_rfc3339(document.expires)}};
  if (document.evaluation_number) out.emplace_back("evaluation_number", *document.evaluation_number);
  return out;
}

// --- fetch ---

Result<std::vector<Endpoint>> endpoints_of(const Options& options) {
  std::vector<Endpoint> out;
  const auto add = [&out](Endpoint::Kind kind, const std::vector<std::string>& urls, Endpoint usual) -> Result<void> {
    if (urls.empty()) out.push_back(std::move(usual));
    for (const auto& url : urls) {
      CLOISTER_TRY(endpoint, collateral::parse_endpoint(kind, url));
      out.push_back(std::move(endpoint));
    }
    return {};
  };
  CLOISTER_CHECK(add(Endpoint::Kind::pcs, options.urls, collateral::intel_pcs()));
  CLOISTER_CHECK(add(Endpoint::Kind::kds, options.kds_urls, collateral::amd_kds()));
  return out;
}

/// `get`, again and again while the services ask for patience and there is some left.
Result<collateral_cache::Held> get_patiently(collateral_cache::Cache& cache, const Key& key, std::chrono::seconds& patience,
                                             Context& context) {
  while (true) {
    auto held = cache.get(key, collateral_cache::Need::current);
    if (held) return held;
    const auto at = cache.asks_again_at(key);
    const auto code = held.error().code();
    if (!at || (code != Errc::rate_limited && code != Errc::unavailable)) return held;
    const auto wait = std::max(std::chrono::ceil<std::chrono::seconds>(*at - context.clock.now()), std::chrono::seconds{1});
    if (wait > patience) return held;
    context.err << "waiting " << wait.count() << " s: " << printable(held.error().text()) << '\n';
    std::this_thread::sleep_for(wait);
    patience -= wait;
  }
}

std::string_view fetch_remedy(Errc code) {
  switch (code) {
    case Errc::rate_limited: return "the service limits requests: try again later, or with a longer --wait";
    case Errc::collateral_missing: return "a service that has it can be named with --url or --kds-url";
    case Errc::collateral_outdated: return "the service, or a cache before it, gives old documents: name another with --url";
    case Errc::unsupported: return "name the service itself with --url or --kds-url";
    case Errc::unavailable:
    case Errc::deadline_exceeded:
    case Errc::peer_closed: return "is the service reachable from here? without a network, use `cloister collateral import`";
    default: return {};
  }
}

void fetch(const Options& options, Context& context) {
  const auto keys = wanted_keys(options);
  if (!keys) return context.fail(keys.error());
  if (keys->empty()) return context.fail(Error{Errc::invalid_argument, "nothing to fetch"}, "name --evidence FILE, or --key KEY");
  auto endpoints = endpoints_of(options);
  if (!endpoints) return context.fail(endpoints.error());
  auto store = open_store(options);
  if (!store) return context.fail(store.error(), "name another folder with --cache");
  collateral_cache::HttpTransport::Options http;
  if (options.ca) {
    auto pem = read_file(*options.ca, kMaxAuthorities);
    if (!pem) return context.fail(pem.error());
    http.ca_pem = std::string{as_text(*pem)};
  }
  collateral_cache::HttpTransport transport{std::move(http)};
  log::NullLogger logger;  // what a log would say is said to the person
  collateral_cache::Cache cache{**store, &transport, context.clock, logger, {.endpoints = *std::move(endpoints), .freshness = {}}};

  std::chrono::seconds patience{options.wait_s};
  json::Array shown;
  std::size_t count = 0;
  for (const auto& key : *keys) {
    context.err << '[' << ++count << '/' << keys->size() << "] " << to_string(key) << '\n';
    const auto held = get_patiently(cache, key, patience, context);
    if (!held) {
      context.fail(held.error(), fetch_remedy(held.error().code()));
      continue;
    }
    if (held->error) context.err << "  not renewed: " << printable(held->error->text()) << '\n';
    auto object = to_json(held->entry->document);
    object.emplace_back("source", held->entry->source);
    object.emplace_back("fetched", held->fetched);
    if (!options.json) {
      context.out << to_string(key) << " until " << to_rfc3339(held->entry->document.expires)
                  << (held->fetched ? " from " : ", had it from ") << printable(held->entry->source) << '\n';
    }
    shown.push_back(std::move(object));
  }
  if (!options.json) return;
  const json::Value all = json::Object{{"cache", (*store)->folder().string()}, {"documents", std::move(shown)}};
  context.out << json::write_pretty(all) << '\n';
}

// --- import, export ---

void import(const Options& options, Context& context) {
  const auto files = collateral::read_bundle(options.path);
  if (!files) return context.fail(files.error());
  auto found = collateral::documents_of(*files);
  if (!found) return context.fail(found.error().in(options.path.string()));
  for (const auto& why : found->left_out) context.err << "left out: " << printable(why) << '\n';
  if (found->documents.empty()) {
    return context.fail(Error{Errc::collateral_missing, options.path.string() + ": no document of a vendor's service is in it"},
                        "a bundle of `cloister collateral export`, or a QuoteCollateralV3 file, is one");
  }
  auto store = open_store(options);
  if (!store) return context.fail(store.error(), "name another folder with --cache");
  log::NullLogger logger;
  collateral_cache::Cache cache{**store, nullptr, context.clock, logger, {}};
  json::Array shown;
  for (const auto& document : found->documents) {
    if (const auto put = cache.put(document, "import"); !put) {
      context.fail(put.error(), put.error().code() == Errc::collateral_outdated ? "the cache has a newer one, and keeps it" : "");
      continue;
    }
    shown.push_back(to_json(document));
    if (!options.json) context.out << to_string(document.key) << " until " << to_rfc3339(document.expires) << '\n';
  }
  if (!options.json) return;
  const json::Value all = json::Object{{"cache", (*store)->folder().string()}, {"documents", std::move(shown)}};
  context.out << json::write_pretty(all) << '\n';
}

/// Everything that is in the cache and can be read, or what was named.
Result<std::vector<Document>> documents_to_export(const Options& options, const Store& store) {
  CLOISTER_TRY(keys, wanted_keys(options));
  std::vector<Document> out;
  for (const auto& key : keys) {
    CLOISTER_TRY(entry, store.find(key));
    if (!entry) return Error{Errc::collateral_missing, to_string(key) + " is not in the cache"};
    out.push_back(entry->document);
  }
  if (!keys.empty()) return out;
  CLOISTER_TRY(listed, store.list());
  for (const auto& one : listed) {
    if (!one.entry) return one.entry.error().in(one.file.string());
    out.push_back(one.entry->document);
  }
  if (out.empty()) return Error{Errc::collateral_missing, store.folder().string() + ": the cache is empty"};
  return out;
}

void export_bundle(const Options& options, Context& context) {
  const auto store = open_store(options);
  if (!store) return context.fail(store.error());
  const auto documents = documents_to_export(options, **store);
  if (!documents) return context.fail(documents.error(), "`cloister collateral fetch` gets what is missing");
  std::error_code failure;
  fs::create_directories(options.path, failure);
  if (failure) return context.fail(Error{Errc::io_error, options.path.string() + ": " + failure.message()});
  // The manifest is the last file, so that a bundle with one is whole.
  for (const auto& file : collateral::write_bundle(*documents)) {
    if (const auto written = write_file(options.path / file.name, as_text(file.content), Readers::everyone); !written) {
      return context.fail(written.error());
    }
  }
  if (!options.json) {
    context.out << documents->size() << " documents in " << options.path.string() << '\n';
    return;
  }
  json::Array shown;
  for (const auto& document : *documents) shown.push_back(to_json(document));
  context.out << json::write_pretty(json::Object{{"bundle", options.path.string()}, {"documents", std::move(shown)}}) << '\n';
}

// --- list, check ---

void list(const Options& options, Context& context) {
  const auto store = open_store(options);
  if (!store) return context.fail(store.error());
  const auto listed = (*store)->list();
  if (!listed) return context.fail(listed.error());
  json::Array shown;
  for (const auto& one : *listed) {
    if (!one.entry) {
      context.err << "damaged: " << one.file.string() << ": " << printable(one.entry.error().text()) << '\n';
      continue;
    }
    auto object = to_json(one.entry->document);
    object.emplace_back("source", one.entry->source);
    object.emplace_back("checked", to_rfc3339(one.entry->checked));
    if (!options.json) {
      context.out << std::left << std::setw(13) << collateral::kind_of(one.entry->document.key) << ' '
                  << to_rfc3339(one.entry->document.issued) << "  " << to_rfc3339(one.entry->document.expires) << "  "
                  << to_string(one.entry->document.key) << '\n';
    }
    shown.push_back(std::move(object));
  }
  if (!options.json) return;
  const json::Value all = json::Object{{"cache", (*store)->folder().string()}, {"documents", std::move(shown)}};
  context.out << json::write_pretty(all) << '\n';
}

struct Finding {
  std::string key;
  std::string_view state;  // "good", "expires_soon", "not_yet_valid", "expired", "missing", "damaged"
  std::optional<Document> document;
  std::string detail;
  [[nodiscard]] bool usable() const noexcept { return state == "good" || state == "expires_soon"; }
};

Finding judge(const Document& document, UnixTime at, std::chrono::days within) {
  std::string_view state = "good";
  if (document.expires <= at + within) state = "expires_soon";
  if (document.issued > at) state = "not_yet_valid";
  if (document.expires <= at) state = "expired";
  return {to_string(document.key), state, document, {}};
}

Result<std::vector<Finding>> findings_of(const Options& options, UnixTime at) {
  CLOISTER_TRY(store, open_store(options));
  CLOISTER_TRY(keys, wanted_keys(options));
  const std::chrono::days within{options.within_days};
  std::vector<Finding> out;
  for (const auto& key : keys) {
    const auto entry = store->find(key);
    if (!entry) out.push_back({to_string(key), "damaged", {}, entry.error().text()});
    else if (!*entry) out.push_back({to_string(key), "missing", {}, {}});
    else out.push_back(judge((*entry)->document, at, within));
  }
  if (!keys.empty()) return out;
  CLOISTER_TRY(listed, store->list());
  for (const auto& one : listed) {
    if (one.entry) out.push_back(judge(one.entry->document, at, within));
    else out.push_back({one.file.filename().string(), "damaged", {}, one.entry.error().text()});
  }
  return out;
}

void check(const Options& options, Context& context) {
  auto at = context.clock.now();
  if (!options.at.empty()) {
    const auto given = parse_rfc3339(options.at);
    if (!given) return context.fail(given.error().in("--at"));
    at = *given;
  }
  const auto findings = findings_of(options, at);
  if (!findings) return context.fail(findings.error());
  const bool good = std::ranges::all_of(*findings, &Finding::usable);
  json::Array shown;
  for (const auto& finding : *findings) {
    json::Object object = finding.document ? to_json(*finding.document) : json::Object{{"key", finding.key}};
    object.emplace_back("state", finding.state);
    if (!finding.detail.empty()) object.emplace_back("detail", finding.detail);
    shown.push_back(std::move(object));
    if (options.json) continue;
    context.out << std::left << std::setw(14) << finding.state << finding.key;
    if (finding.document) context.out << "  " << to_rfc3339(finding.document->expires);
    context.out << (finding.detail.empty() ? "" : "  ") << printable(finding.detail) << '\n';
  }
  if (options.json) context.out << json::write_pretty(json::Object{{"good", good}, {"documents", std::move(shown)}}) << '\n';
  if (!good) {
    context.err << "remedy: `cloister collateral fetch`, or `import` from a machine that can\n";
    context.exit_code = kRejected;
  }
}

}  // namespace

void add_collateral(CLI::App& app, Context& context) {
  auto* family = app.add_subcommand("collateral", "The cache of vendors' certificates, CRLs and TCB documents");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();  // shared with the callbacks, which CLI11 keeps
  const auto add = [&](const char* name, const char* help, void (*run)(const Options&, Context&)) {
    auto* command = family->add_subcommand(name, help);
    command->add_option("--cache", options->cache, "Folder (default: cloister/collateral in XDG_CACHE_HOME, else ~/.cache)");
    command->add_flag("--json", options->json, "One JSON object");
    command->callback([options, run, &context] { run(*options, context); });
    return command;
  };
  const auto selects = [&options](CLI::App* command) {
    command->add_option("--evidence", options->evidence, "Quote or SEV-SNP report: what it needs");
    command->add_option("--key", options->keys, "A document by its key, as `list` shows it");
    command->add_option("--product", options->product, "Of an SEV-SNP report of version 2: Milan, Genoa, Turin");
    command->add_flag("--early", options->early, "The early evaluation of the platform's TCB");
    return command;
  };
  auto* fetch_command = selects(add("fetch", "Get into the cache what evidence needs, from the vendors' services", fetch));
  fetch_command->add_option("--url", options->urls, "PCS or PCCS, in the order in which they are asked (default: Intel's)");
  fetch_command->add_option("--kds-url", options->kds_urls, "AMD's service, or one like it (default: AMD's)");
  fetch_command->add_option("--ca", options->ca, "Authorities of the services, PEM (default: the system's)");
  fetch_command->add_option("--wait", options->wait_s, "Seconds in all to wait for services that limit requests");
  add("import", "Take a bundle, or a file of collateral, into the cache", import)
      ->add_option("PATH", options->path, "Directory or file, as `verify --collateral` takes it")->required();
  selects(add("export", "Write a bundle for `verify --collateral` and `import`", export_bundle))
      ->add_option("DIR", options->path, "Directory; made when it is not there")->required();
  add("list", "What the cache has: kind, issued, expires, key", list);
  auto* check_command = selects(add("check", "Whether everything is there and valid: exit 0 yes, 2 no", check));
  check_command->add_option("--at", options->at, "At this time, RFC 3339 (default: now)");
  check_command->add_option("--within", options->within_days, "Days before its end from which a document expires soon");
}

}  // namespace cloister::cli
