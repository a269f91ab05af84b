#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "audit.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/merkle/export.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/process/descriptor.hpp"
#include "connection.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::uint64_t kPage = 1000;
constexpr std::chrono::seconds kLookEvery{1};
constexpr std::chrono::seconds kTellEvery{2};

struct Options {
  ConnectionOptions connection;
  AuditTrust trust;
  std::uint64_t lines = 20;
  bool follow = false;
  bool json = false;
  LeafFilter filter;
  std::optional<fs::path> export_file;  // instead of the server
  std::uint64_t index = 0;
  std::optional<fs::path> head;
  bool update = false;
  std::optional<fs::path> out;
  std::uint64_t from = 0;
  std::optional<std::string> log;
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
  CLOISTER_TRY(head, merkle::read_kept_head(as_bytes(json::write(answer))));
  const auto* key = answer.find("key");
  CLOISTER_TRY(parsed, codec::array_from_hex<32>(key == nullptr || key->as_string() == nullptr ? "" : *key->as_string()));
  out.head = std::move(head);
  out.key = parsed;
  out.answer = std::move(answer);
  CLOISTER_CHECK(merkle::verify(out.head, out.key));
  return out;
}

/// Shows the newest head. The answer is no (exit code 2) where the trust file lists audit keys, and this one is not
/// among them.
Result<void> show_head(const Options& options, Context& context) {
  CLOISTER_TRY(access, find_access(options.connection));
  CLOISTER_TRY(server, connect(access));
  CLOISTER_TRY(keys, audit_keys(options.trust, access.trust_file));
  CLOISTER_TRY(head, fetch_head(server));
  const bool trusted = std::ranges::find(keys, head.key) != keys.end();
  head.answer.set("trusted", trusted);
  if (options.json) {
    context.out << json::write(head.answer) << '\n';
  } else {
    print_plain(context.out, head.answer);
  }
  if (!trusted && !keys.empty()) {
    context.err << "cloister: the head is signed by a key that your trust file does not name\n";
    context.exit_code = kRejected;
  }
  return {};
}

using OnLeaf = std::function<bool(std::uint64_t, const merkle::AuditLeaf&)>;

/// Calls `on_leaf` for the leaves [first, end), until it has enough.
Result<void> fetch_leaves(client::Orchestrator& server, std::uint64_t first, std::uint64_t end, const OnLeaf& on_leaf) {
  while (first < end) {
    const auto limit = std::min(end - first, kPage);
    CLOISTER_TRY(answer, server.get("audit/leaves?first=" + std::to_string(first) + "&limit=" + std::to_string(limit)));
    const auto* leaves = answer.find("leaves");
    const auto* list = leaves == nullptr ? nullptr : leaves->as_array();
    if (list == nullptr || list->empty() || list->size() > limit) return Error{Errc::malformed, "the leaves of the log expected"};
    for (const auto& item : *list) {
      CLOISTER_TRY(bytes, codec::from_base64(item.as_string() == nullptr ? "" : *item.as_string()));
      CLOISTER_TRY(leaf, merkle::decode_audit_leaf(bytes));
      if (!on_leaf(first++, leaf)) return {};
    }
  }
  return {};
}

Result<void> tail(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(head, fetch_head(server));
  auto size = head.head.head.tree_size;
  const auto begin = size - std::min(size, options.lines);
  if (options.json && !options.follow) {
    LeafPrinter printer{{.first = begin, .count = UINT64_MAX, .kind = {}, .subject = {}}, context.out, true};
    CLOISTER_CHECK(fetch_leaves(server, begin, size, [&](std::uint64_t index, const merkle::AuditLeaf& leaf) {
      printer.print(index, leaf);
      return true;
    }));
    printer.end();
    return {};
  }
  const OnLeaf print = [&](std::uint64_t index, const merkle::AuditLeaf& leaf) {
    context.out << (options.json ? json::write(leaf_json(index, leaf)) + '\n' : leaf_line(index, leaf));
    return true;
  };
  CLOISTER_CHECK(fetch_leaves(server, begin, size, print));
  context.out.flush();
  while (options.follow) {
    std::this_thread::sleep_for(kLookEvery);
    CLOISTER_TRY(now, fetch_head(server));
    CLOISTER_CHECK(fetch_leaves(server, size, now.head.head.tree_size, print));
    context.out.flush();
    size = std::max(size, now.head.head.tree_size);
  }
  return {};
}

/// The entries of an export that is accepted, or of the server's log. False: it was refused, which was said.
Result<bool> walk(const Options& options, Context& context, std::uint64_t first, const OnLeaf& on_leaf) {
  if (options.export_file) {
    CLOISTER_TRY(checked, check_export({*options.export_file, options.trust, {}}));
    if (checked.rejection) {
      reject(context, *checked.rejection, options.json);
      return false;
    }
    CLOISTER_CHECK(for_each_leaf(*options.export_file, on_leaf));
    return true;
  }
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(head, fetch_head(server));
  CLOISTER_CHECK(fetch_leaves(server, first, head.head.head.tree_size, on_leaf));
  return true;
}

Result<void> list(const Options& options, Context& context) {
  LeafPrinter printer{options.filter, context.out, options.json};
  CLOISTER_TRY(done, walk(options, context, options.filter.first, [&](std::uint64_t index, const merkle::AuditLeaf& leaf) {
    printer.print(index, leaf);
    return !printer.full();
  }));
  if (done) printer.end();
  return {};
}

Result<void> show(const Options& options, Context& context) {
  std::optional<json::Value> found;
  CLOISTER_TRY(done, walk(options, context, options.index, [&](std::uint64_t index, const merkle::AuditLeaf& leaf) {
    if (index == options.index) found = leaf_json(index, leaf);
    return index < options.index;
  }));
  if (!done) return {};
  if (!found) return Error{Errc::not_found, "the log has no entry " + std::to_string(options.index)};
  if (options.json) context.out << json::write(*found) << '\n';
  else print_plain(context.out, *found);
  return {};
}

Result<void> list_logs(const Options& options, Context& context) {
  CLOISTER_TRY(server, connect(options.connection));
  CLOISTER_TRY(answer, server.get("audit/logs"));
  CLOISTER_TRY(text, render_list(answer, {"id", "started", "leaves", "size", "current"}, options.json));
  context.out << text;
  return {};
}

Result<std::vector<merkle::Hash>> path_of(const json::Value& proof) {
  const auto* member = proof.find("path");
  const auto* list = member == nullptr ? nullptr : member->as_array();
  if (list == nullptr || list->size() > 64) return Error{Errc::malformed, "the path of a proof expected"};
  std::vector<merkle::Hash> out;
  for (const auto& item : *list) {
    CLOISTER_TRY(hash, codec::array_from_hex<32>(item.as_string() == nullptr ? "" : *item.as_string()));
    out.push_back(hash);
  }
  return out;
}

json::Array hex_of(const std::vector<merkle::Hash>& path) {
  json::Array out;
  for (const auto& hash : path) out.emplace_back(codec::to_hex(hash));
  return out;
}

/// What a proof is checked with: the server, the keys that are believed, and its newest head, which is signed by one.
struct Prover {
  client::Orchestrator server;
  std::vector<crypto::Ed25519Public> keys;
  Head newest;
};
/// Nothing: it was refused, which was said.
Result<std::optional<Prover>> prover_of(const Options& options, Context& context) {
  CLOISTER_TRY(access, find_access(options.connection));
  CLOISTER_TRY(keys, audit_keys(options.trust, access.trust_file));
  CLOISTER_TRY(server, connect(access));
  if (keys.empty()) {
    reject(context, without_trust(), options.json);
    return std::optional<Prover>{};
  }
  CLOISTER_TRY(newest, fetch_head(server));
  if (std::ranges::find(keys, newest.key) == keys.end()) {
    reject(context, {std::string{to_string(merkle::ExportFault::key_not_trusted)},
                     "the newest head is signed by the key " + codec::to_hex(newest.key) + ", which nothing here trusts", {}, {}},
           options.json);
    return std::optional<Prover>{};
  }
  return std::optional{Prover{std::move(server), std::move(keys), std::move(newest)}};
}

/// Why a head that was kept is none that the newest could continue; nothing where it is.
std::optional<AuditRejection> compare(const merkle::SignedHead& kept, const Head& newest, const std::string& name) {
  using merkle::ExportFault;
  const auto no = [](ExportFault fault, std::string detail) {
    return AuditRejection{std::string{to_string(fault)}, std::move(detail), std::nullopt, std::nullopt};
  };
  const auto& now = newest.head.head;
  if (kept.head.log_id != now.log_id) {
    return no(ExportFault::earlier_head_of_another_log,
              name + " is a head of " + kept.head.log_id + ", the server's log is " + now.log_id);
  }
  if (!merkle::verify(kept, newest.key)) {
    return no(ExportFault::earlier_head_signature_invalid, name + " is not signed by the log's key");
  }
  if (kept.head.tree_size > now.tree_size) {
    return no(ExportFault::tail_removed, "the log had " + std::to_string(kept.head.tree_size) + " entries when " + name +
                                             " was signed, and has " + std::to_string(now.tree_size));
  }
  if (kept.head.tree_size == now.tree_size && kept.head.root != now.root) {
    return no(ExportFault::head_conflicts, "two heads of size " + std::to_string(now.tree_size) +
                                               " are signed, with different roots: the server's, and " + name);
  }
  return std::nullopt;
}

/// That an entry stands under a head: the one that was kept, else the newest.
Result<void> inclusion(const Options& options, Context& context) {
  CLOISTER_TRY(prover, prover_of(options, context));
  if (!prover) return {};
  auto head = prover->newest.head;
  if (options.head) {
    CLOISTER_TRY(kept, read_head_file(*options.head));
    if (const auto why = compare(kept, prover->newest, options.head->string())) {
      reject(context, *why, options.json);
      return {};
    }
    head = std::move(kept);
  }
  const auto size = head.head.tree_size;
  if (options.index >= size) {
    return Error{Errc::not_found, "the head covers " + std::to_string(size) + " entries, from 0 on"};
  }
  const auto index = std::to_string(options.index);
  CLOISTER_TRY(answer, prover->server.get("audit/inclusion?index=" + index + "&size=" + std::to_string(size)));
  CLOISTER_TRY(path, path_of(answer));
  CLOISTER_TRY(leaves, prover->server.get("audit/leaves?limit=1&first=" + index));
  const auto* list = leaves.find("leaves") == nullptr ? nullptr : leaves.find("leaves")->as_array();
  const auto* text = list == nullptr || list->size() != 1 ? nullptr : list->front().as_string();
  if (text == nullptr) return Error{Errc::malformed, "one leaf of the log expected"};
  CLOISTER_TRY(bytes, codec::from_base64(*text));
  CLOISTER_TRY(leaf, merkle::decode_audit_leaf(bytes));
  const auto hash = merkle::leaf_hash(bytes);
  if (const auto proven = merkle::verify_inclusion({options.index, size, path}, hash, head.head.root); !proven) {
    reject(context, {std::string{to_string(proven.error().code())},
                     "entry " + index + " as the server shows it is not under the head: " + proven.error().detail(), options.index,
                     options.index},
           options.json);
    return {};
  }
  if (options.json) {
    context.out << json::write(json::Object{{"verdict", "accepted"},
                                            {"leaf", leaf_json(options.index, leaf)},
                                            {"leaf_hash", codec::to_hex(hash)},
                                            {"path", hex_of(path)},
                                            {"head", merkle::head_json(head, prover->newest.key)}})
                << '\n';
  } else {
    context.out << "accepted: entry " << index << " of " << size << " is what the log signed at " << to_rfc3339(head.head.time)
                << '\n'
                << leaf_line(options.index, leaf);
  }
  return {};
}

/// That the newest head continues the one that was kept; then it may take its place.
Result<void> consistency(const Options& options, Context& context) {
  CLOISTER_TRY(kept, read_head_file(*options.head));
  CLOISTER_TRY(prover, prover_of(options, context));
  if (!prover) return {};
  const auto& newest = prover->newest.head.head;
  if (const auto why = compare(kept, prover->newest, options.head->string())) {
    reject(context, *why, options.json);
    return {};
  }
  std::vector<merkle::Hash> path;
  if (kept.head.tree_size > 0 && kept.head.tree_size < newest.tree_size) {
    CLOISTER_TRY(answer, prover->server.get("audit/consistency?first=" + std::to_string(kept.head.tree_size) +
                                            "&second=" + std::to_string(newest.tree_size)));
    CLOISTER_TRY(shown, path_of(answer));
    path = std::move(shown);
    const merkle::ConsistencyProof proof{kept.head.tree_size, newest.tree_size, path};
    if (const auto proven = merkle::verify_consistency(proof, kept.head.root, newest.root); !proven) {
      reject(context, {std::string{to_string(merkle::ExportFault::history_forked)},
                       "the newest head does not continue " + options.head->string() + ": " + proven.error().detail(), {}, {}},
             options.json);
      return {};
    }
  }
  const auto head = merkle::head_json(prover->newest.head, prover->newest.key);
  if (options.update) CLOISTER_CHECK(write_file(*options.head, json::write(head) + '\n', Readers::everyone));
  if (options.json) {
    context.out << json::write(json::Object{{"verdict", "accepted"},
                                            {"first", kept.head.tree_size},
                                            {"second", newest.tree_size},
                                            {"path", hex_of(path)},
                                            {"head", head}})
                << '\n';
  } else {
    context.out << "accepted: the log of " << newest.tree_size << " entries, signed " << to_rfc3339(newest.time)
                << ", continues that of " << kept.head.tree_size << '\n';
  }
  return {};
}

/// Where an export goes: standard output, or a file that has its name only once it is whole.
class Sink {
 public:
  static Result<Sink> open(const std::optional<fs::path>& file, std::ostream& out) {
    Sink sink{file, out};
    if (!file) return sink;
    sink.draft_ = file->string() + ".part";
    sink.fd_ = process::UniqueFd{::open(sink.draft_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!sink.fd_.valid()) return process::errno_error(sink.draft_);
    return sink;
  }
  Sink(Sink&& other) noexcept
      : file_{std::move(other.file_)}, out_{other.out_}, draft_{std::exchange(other.draft_, {})}, fd_{std::move(other.fd_)} {}
  Sink& operator=(Sink&&) = delete;
  ~Sink() {
    if (!draft_.empty()) ::unlink(draft_.c_str());
  }
  Result<void> write(std::string_view text) {
    if (!file_) {
      if (!out_.write(text.data(), static_cast<std::streamsize>(text.size()))) return Error{Errc::io_error, "standard output"};
      return {};
    }
    while (!text.empty()) {
      const auto wrote = ::write(fd_.get(), text.data(), text.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return process::errno_error(draft_);
      text.remove_prefix(static_cast<std::size_t>(wrote));
    }
    return {};
  }
  Result<void> finish() {
    if (!file_) return {};
    if (::fsync(fd_.get()) != 0 || ::rename(draft_.c_str(), file_->c_str()) != 0) return process::errno_error(file_->string());
    draft_.clear();
    return {};
  }

 private:
  Sink(const std::optional<fs::path>& file, std::ostream& out) : file_{file}, out_{out} {}
  std::optional<fs::path> file_;
  std::ostream& out_;
  std::string draft_;
  process::UniqueFd fd_;
};

/// A page of an export as the server gives it.
struct Page {
  json::Value header;
  json::Array entries;
  std::uint64_t to = 0;
  std::optional<std::uint64_t> next;
};

Result<Page> fetch_page(client::Orchestrator& server, const Options& options, std::uint64_t from,
                        const std::optional<std::uint64_t>& to) {
  auto path = "audit/export?from=" + std::to_string(from);
  if (to) path += "&to=" + std::to_string(*to);
  if (options.log) path += "&log=" + *options.log;
  CLOISTER_TRY(answer, server.get(path));
  json::Fields fields{answer, "audit export"};
  Page out;
  out.header = fields.object("header");
  out.entries = fields.array("entries");
  out.to = static_cast<std::uint64_t>(fields.integer("to", 0));
  if (const auto next = fields.optional_integer("next", 0)) out.next = static_cast<std::uint64_t>(*next);
  CLOISTER_CHECK(fields.finish());
  if ((to && *to != out.to) || (out.next && (*out.next <= from || *out.next >= out.to))) {
    return Error{Errc::malformed, "audit export: the page after the one before expected"};
  }
  return out;
}

/// Writes and checks page by page, so that memory does not grow with the log.
Result<void> export_log(const Options& options, Context& context) {
  if (options.log && !valid_id(*options.log)) {
    return Error{Errc::invalid_argument, "--log: an id as `cloister audit logs` has it expected"};
  }
  CLOISTER_TRY(access, find_access(options.connection));
  CLOISTER_TRY(server, connect(access));
  CLOISTER_TRY(keys, audit_keys(options.trust, access.trust_file));
  const bool trusted = !keys.empty();
  CLOISTER_TRY(page, fetch_page(server, options, options.from, std::nullopt));
  CLOISTER_TRY(header, merkle::parse_export_header(page.header));
  if (header.from != options.from || (options.log && *options.log != header.log_id)) {
    return Error{Errc::malformed, "audit export: another log, or another part of it, than was asked for"};
  }
  // Without a key that is believed, the check finds what went wrong on the way here, and no more.
  if (!trusted) keys = {header.key};
  merkle::ExportCheck check{std::move(keys), {}};
  CLOISTER_TRY(sink, Sink::open(options.out, context.out));
  const auto put = [&](const json::Value& value) -> Result<void> {
    const auto line = json::write(value) + '\n';
    check.feed(line);
    return sink.write(line);
  };
  CLOISTER_CHECK(put(page.header));
  auto told = std::chrono::steady_clock::now();
  for (;;) {
    for (const auto& entry : page.entries) CLOISTER_CHECK(put(entry));
    if (check.finding() || !page.next) break;
    if (const auto now = std::chrono::steady_clock::now(); now - told >= kTellEvery) {
      told = now;
      context.err << "exported " << *page.next << " of " << page.to << " entries\n" << std::flush;
    }
    CLOISTER_TRY(following, fetch_page(server, options, *page.next, page.to));
    page = std::move(following);
  }
  if (const auto& finding = check.finish()) {
    // What is on standard output already is refused by whoever verifies it; what would be said there goes elsewhere.
    Context elsewhere{context.err, context.err, context.clock};
    reject(options.out ? context : elsewhere, rejection_of(*finding), options.json && options.out);
    context.exit_code = kRejected;
    return {};
  }
  CLOISTER_CHECK(sink.finish());
  const auto& head = check.head().head;
  if (options.out && options.json) {
    context.out << json::write(json::Object{{"file", options.out->string()},
                                            {"log", head.log_id},
                                            {"from", options.from},
                                            {"size", head.tree_size},
                                            {"trusted", trusted},
                                            {"head", merkle::head_json(check.head(), header.key)}})
                << '\n';
  } else {
    context.err << "exported entries " << options.from << " up to " << head.tree_size << " of " << head.log_id
                << (trusted ? "" : "; its key is not checked, since no trust file names one") << '\n';
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
  const auto add_export_option = [options](CLI::App* command) {
    command->add_option("--export", options->export_file, "of an export on this disk, which is verified, instead of the server");
    add_audit_trust_options(*command, options->trust);
  };
  auto* head = audit->add_subcommand("head", "The newest signed head: exit 2 when its key is not one of your trust file");
  add_audit_trust_options(*head, options->trust);
  on(head, show_head);
  auto* tail_command = audit->add_subcommand("tail", "The newest entries, oldest first");
  tail_command->add_option("-n,--lines", options->lines, "how many")->check(CLI::Range(1, 10'000));
  tail_command->add_flag("-f,--follow", options->follow, "go on with what is added, until Ctrl-C");
  on(tail_command, tail);
  auto* list_command = audit->add_subcommand("list", "Entries, oldest first");
  list_command->add_option("--first", options->filter.first, "number of the first that is looked at");
  list_command->add_option("-n,--count", options->filter.count, "how many at most");
  list_command->add_option("--kind", options->filter.kind, "of this kind alone, or of all that begin with it and a dot");
  list_command->add_option("--subject", options->filter.subject, "about this alone");
  add_export_option(list_command);
  on(list_command, list);
  auto* show_command = audit->add_subcommand("show", "An entry, whole");
  show_command->add_option("INDEX", options->index, "its number, from 0 on")->required();
  add_export_option(show_command);
  on(show_command, show);
  on(audit->add_subcommand("logs", "The logs that the database has; those before the last ended when a rollback was accepted"),
     list_logs);
  auto* inclusion_command = audit->add_subcommand("inclusion", "Prove that an entry is in the log: exit 2 when it is not as shown");
  inclusion_command->add_option("INDEX", options->index, "its number, from 0 on")->required();
  inclusion_command->add_option("--head", options->head, "under this head, which was kept; else the newest");
  add_audit_trust_options(*inclusion_command, options->trust);
  on(inclusion_command, inclusion);
  auto* consistency_command =
      audit->add_subcommand("consistency", "Prove that the log continues a head that was kept: exit 2 when it does not");
  consistency_command
      ->add_option("--head", options->head, "what `cloister audit head --json` printed, or a copy of audit-head.cbor")
      ->required();
  consistency_command->add_flag("--update", options->update, "then keep the newest head in its place");
  add_audit_trust_options(*consistency_command, options->trust);
  on(consistency_command, consistency);
  auto* export_command = audit->add_subcommand("export", "The log as a file that `audit verify` checks");
  export_command->add_option("--out", options->out, "the file; else standard output");
  export_command->add_option("--from", options->from, "number of the first entry, to go on from an export before");
  export_command->add_option("--log", options->log, "an earlier log, by its id (`audit logs`)");
  add_audit_trust_options(*export_command, options->trust);
  on(export_command, export_log);
  add_audit_verify(*audit, context);
}

}  // namespace cloister::cli
