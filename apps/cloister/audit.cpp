#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "cli.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/merkle/log.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::uint64_t kPage = 1000;
constexpr std::chrono::seconds kLookEvery{1};

struct Options {
  ConnectionOptions connection;
  std::optional<fs::path> trust;
  std::uint64_t lines = 20;
  bool follow = false;
  bool json = false;
};

/// A head as the server gives it, with the key that it says it signs with.
struct Head {
  merkle::SignedHead head;
  crypto::Ed25519Public key{};
  json::Value answer;
};

Result<Head> fetch_head(client::Orchestrator& server) {
  Head out;
  CLOISTER_TRY(answer, server.get("audit/head"));
  json::Fields fields{answer, "audit head"};
  out.head.head.log_id = fields.string("log");
  out.head.head.tree_size = static_cast<std::uint64_t>(fields.integer("size", 0));
  out.head.head.root = fields.hex_array<32>("root");
  const auto time = fields.string("time");
  out.head.signature = fields.hex_array<64>("signature");
  out.key = fields.hex_array<32>("key");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(parsed, parse_rfc3339(time));
  out.head.head.time = parsed;
  out.answer = std::move(answer);
  CLOISTER_CHECK(merkle::verify(out.head, out.key));
  return out;
}

/// Shows the newest head. The answer is no (exit code 2) where the trust file lists audit keys, and this one is not
/// among them.
Result<void> show_head(const Options& options, Context& context) {
  CLOISTER_TRY(access, find_access(options.connection));
  CLOISTER_TRY(server, connect(access));
  CLOISTER_TRY(trust, trust_of(options.trust, access));
  CLOISTER_TRY(head, fetch_head(server));
  const bool trusted = std::ranges::find(trust.audit_keys, head.key) != trust.audit_keys.end();
  head.answer.set("trusted", trusted);
  if (options.json) {
    context.out << json::write(head.answer) << '\n';
  } else {
    print_plain(context.out, head.answer);
  }
  if (!trusted && !trust.audit_keys.empty()) {
    context.err << "cloister: the head is signed by a key that your trust file does not name\n";
    context.exit_code = kRejected;
  }
  return {};
}

json::Value detail_json(const merkle::DetailValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return *number;
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return codec::to_hex(std::get<Bytes>(value));
}

json::Value leaf_json(std::uint64_t index, const merkle::AuditLeaf& leaf) {
  json::Object details;
  for (const auto& [name, value] : leaf.details) details.emplace_back(name, detail_json(value));
  return json::Object{{"index", index},
                      {"time", to_rfc3339(leaf.time)},
                      {"kind", leaf.kind},
                      {"subject", leaf.subject},
                      {"details", std::move(details)}};
}

/// The leaves [first, end), as objects.
Result<json::Array> fetch_leaves(client::Orchestrator& server, std::uint64_t first, std::uint64_t end) {
  json::Array out;
  while (first < end) {
    const auto limit = std::min(end - first, kPage);
    CLOISTER_TRY(answer, server.get("audit/leaves?first=" + std::to_string(first) + "&limit=" + std::to_string(limit)));
    const auto* leaves = answer.find("leaves");
    const auto* list = leaves == nullptr ? nullptr : leaves->as_array();
    if (list == nullptr || list->empty() || list->size() > limit) return Error{Errc::malformed, "the leaves of the log expected"};
    for (const auto& item : *list) {
      CLOISTER_TRY(bytes, codec::from_base64(item.as_string() == nullptr ? "" : *item.as_string()));
      CLOISTER_TRY(leaf, merkle::decode_audit_leaf(bytes));
      out.push_back(leaf_json(first++, leaf));
    }
  }
  return out;
}

/// One line: what happened when, to what, and what matters of it.
std::string line_of(const json::Value& leaf) {
  std::string out = *leaf.find("time")->as_string();
  out.resize(std::min(out.find('.'), out.size() - 1));  // to the second
  out += "Z  " + *leaf.find("kind")->as_string() + "  " + printable(*leaf.find("subject")->as_string());
  constexpr std::size_t kLongest = 64;  // digests are for --json
  for (const auto& [name, value] : *leaf.find("details")->as_object()) {
    const auto text = value.as_string() == nullptr ? json::write(value) : *value.as_string();
    if (text.size() < kLongest) out += "  " + printable(name) + '=' + printable(text);
  }
  return out + '\n';
}

void print(const json::Array& leaves, const Options& options, std::ostream& out) {
  for (const auto& leaf : leaves) out << (options.json ? json::write(leaf) + '\n' : line_of(leaf));
  out.flush();
}

Result<void> tail(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(head, fetch_head(server));
  auto size = head.head.head.tree_size;
  CLOISTER_TRY(leaves, fetch_leaves(server, size - std::min(size, options.lines), size));
  if (options.json && !options.follow) {
    context.out << json::write(json::Object{{"leaves", std::move(leaves)}}) << '\n';
    return {};
  }
  print(leaves, options, context.out);
  while (options.follow) {
    std::this_thread::sleep_for(kLookEvery);
    CLOISTER_TRY(now, fetch_head(server));
    CLOISTER_TRY(more, fetch_leaves(server, size, now.head.head.tree_size));
    print(more, options, context.out);
    size = std::max(size, now.head.head.tree_size);
  }
  return {};
}

}  // namespace

void add_audit(CLI::App& app, Context& context) {
  auto* audit = app.add_subcommand("audit", "The audit log: what happened, and that nobody changed it");
  audit->require_subcommand(1);
  const auto options = std::make_shared<Options>();
  const auto on = [&context, options](CLI::App* command, Result<void> (*work)(const Options&, Context&)) {
    add_connection_options(*command, options->connection);
    command->add_flag("--json", options->json, "one JSON object; with --follow one a line");
    command->callback([options, &context, work] {
      if (auto done = work(*options, context); !done) context.fail(done.error());
    });
  };
  auto* head = audit->add_subcommand("head", "The newest signed head: exit 2 when its key is not one of your trust file");
  head->add_option("--trust", options->trust, "trust file; else that of your profile or configuration folder");
  on(head, show_head);
  auto* tail_command = audit->add_subcommand("tail", "The newest entries, oldest first");
  tail_command->add_option("-n,--lines", options->lines, "how many")->check(CLI::Range(1, 10'000));
  tail_command->add_flag("-f,--follow", options->follow, "go on with what is added, until Ctrl-C");
  on(tail_command, tail);
}

}  // namespace cloister::cli
