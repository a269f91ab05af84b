// The audit log without its server: an export on this disk, and heads that somebody kept.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "audit.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/merkle/kinds.hpp"
#include "files.hpp"
#include "render.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::size_t kMaxHeadFile = 64 * 1024;
constexpr std::size_t kPiece = 64 * 1024;

struct Options : ExportOptions {
  bool json = false;
};

Error io_error(const fs::path& file) { return Error{Errc::io_error, file.string() + ": " + std::strerror(errno)}; }

/// Reads the file in pieces, until `take` has enough.
Result<void> read_pieces(const fs::path& file, const std::function<bool(std::string_view)>& take) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) return Error{Errc::io_error, file.string() + ": is a directory"};
  std::ifstream in(file, std::ios::binary);
  if (!in) return io_error(file);
  std::string piece(kPiece, '\0');
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    if (in.bad()) return io_error(file);
    if (!take(std::string_view{piece}.substr(0, static_cast<std::size_t>(in.gcount())))) return {};
  }
  return {};
}

Result<std::vector<merkle::KeptHead>> read_heads(const std::vector<fs::path>& files) {
  std::vector<merkle::KeptHead> out;
  for (const auto& file : files) {
    CLOISTER_TRY(head, read_head_file(file));
    out.push_back({file.string(), std::move(head)});
  }
  return out;
}

json::Value detail_json(const merkle::DetailValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return *number;
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return codec::to_hex(std::get<Bytes>(value));
}

json::Value accepted_json(const Options& options, const CheckedExport& checked) {
  const auto& check = *checked.check;
  json::Array kept;
  for (const auto& file : options.heads) kept.emplace_back(file.string());
  const auto& head = check.head();
  json::Object out{{"verdict", "accepted"},
                   {"log", check.header().log_id},
                   {"from", check.header().from},
                   {"size", head.head.tree_size},
                   {"signed_heads", check.heads()},
                   {"completeness", options.heads.empty() ? "not checked" : "checked"},
                   {"complete_to", options.heads.empty() ? json::Value{} : json::Value{checked.complete_to}},
                   {"earlier_heads", std::move(kept)},
                   {"rollback", nullptr},
                   {"head", merkle::head_json(head, check.header().key)}};
  json::Value value{std::move(out)};
  if (check.rollback()) value.set("rollback", leaf_json(0, *check.rollback()));
  return value;
}

void print_accepted(const Options& options, const CheckedExport& checked, std::ostream& out) {
  const auto& check = *checked.check;
  const auto& head = check.head().head;
  const auto from = check.header().from;
  out << "accepted: " << head.log_id << ", ";
  if (from == head.tree_size) out << "no entries from " << from << " on";
  else out << "entries " << from << " to " << head.tree_size - 1;
  out << ", signed " << to_rfc3339(head.time) << " by " << codec::to_hex(check.header().key) << '\n';
  if (from > 0) out << "  begins at entry " << from << ": those before it are not in this export\n";
  if (check.rollback()) {
    out << "  began because a rollback was accepted:";
    for (const auto& [name, value] : check.rollback()->details) {
      out << ' ' << printable(name) << '=' << printable(json::write(detail_json(value)));
    }
    out << '\n';
  }
  if (options.heads.empty()) {
    out << "  completeness not checked: entries that were removed at the end are found by an earlier head (--head FILE)\n";
  }
  for (const auto& file : options.heads) out << "  continues " << printable(file.string()) << '\n';
  if (!options.heads.empty()) {
    out << "  complete to " << checked.complete_to << " entries: nothing that a kept head covers was removed\n";
  }
}

void verify(const Options& options, Context& context) {
  const auto checked = check_export(options);
  if (!checked) return context.fail(checked.error());
  if (checked->rejection) return reject(context, *checked->rejection, options.json);
  if (options.json) context.out << json::write(accepted_json(options, *checked)) << '\n';
  else print_accepted(options, *checked, context.out);
}

}  // namespace

void add_audit_trust_options(CLI::App& command, AuditTrust& trust) {
  auto* file = command.add_option("--trust", trust.file, "trust file, whose audit keys are believed; else that of your profile or "
                                                         "configuration folder");
  command.add_option("--key", trust.keys, "the log's key in hex, instead of a trust file; may be given more than once")
      ->allow_extra_args(false)
      ->excludes(file);
}

Result<std::vector<crypto::Ed25519Public>> audit_keys(const AuditTrust& trust, const std::optional<fs::path>& of_profile) {
  std::vector<crypto::Ed25519Public> out;
  for (const auto& text : trust.keys) {
    auto key = codec::array_from_hex<32>(text);
    if (!key) return key.error().in("--key");
    out.push_back(*key);
  }
  if (!out.empty()) return out;
  CLOISTER_TRY(file, load_trust_file(trust.file ? trust.file : of_profile));
  return std::vector<crypto::Ed25519Public>{file.audit_keys.begin(), file.audit_keys.end()};
}

AuditRejection rejection_of(const merkle::ExportFinding& finding) {
  return {std::string{to_string(finding.fault)}, finding.detail, finding.first, finding.last};
}

AuditRejection without_trust() {
  return {std::string{to_string(Errc::trust_not_given)},
          "nothing that a log says of itself is an anchor: name its key with --key HEX, or a trust file that has it among its "
          "audit_keys with --trust FILE",
          std::nullopt, std::nullopt};
}

void reject(Context& context, const AuditRejection& why, bool as_json) {
  context.exit_code = kRejected;
  if (!as_json) {
    context.out << "rejected: " << why.code << ": " << printable(why.detail) << '\n';
    return;
  }
  json::Object error{{"code", why.code}, {"detail", why.detail}};
  if (why.first) error.emplace_back("first", *why.first);
  if (why.last) error.emplace_back("last", *why.last);
  context.out << json::write(json::Object{{"verdict", "rejected"}, {"error", std::move(error)}}) << '\n';
}

json::Value leaf_json(std::uint64_t index, const merkle::AuditLeaf& leaf) {
  json::Object details;
  for (const auto& [name, value] : leaf.details) details.emplace_back(name, detail_json(value));
  json::Value meaning;
  if (const auto* kind = merkle::find_leaf_kind(leaf.kind)) meaning = kind->meaning;
  return json::Object{{"index", index},
                      {"time", to_rfc3339(leaf.time)},
                      {"kind", leaf.kind},
                      {"subject", leaf.subject},
                      {"details", std::move(details)},
                      {"meaning", std::move(meaning)}};
}

std::string leaf_line(std::uint64_t index, const merkle::AuditLeaf& leaf) {
  auto out = to_rfc3339(std::chrono::floor<std::chrono::seconds>(leaf.time)) + "  " + leaf.kind + "  " + printable(leaf.subject);
  constexpr std::size_t kLongest = 64;  // digests are for --json
  for (const auto& [name, value] : leaf.details) {
    const auto shown = detail_json(value);
    const auto text = shown.as_string() == nullptr ? json::write(shown) : *shown.as_string();
    if (text.size() < kLongest) out += "  " + printable(name) + '=' + printable(text);
  }
  return out + "  #" + std::to_string(index) + '\n';
}

Result<merkle::SignedHead> read_head_file(const fs::path& file) {
  CLOISTER_TRY(bytes, read_file(file, kMaxHeadFile));
  auto head = merkle::read_kept_head(bytes);
  if (!head) return head.error().in(file.string());
  return head;
}

bool LeafFilter::takes(const merkle::AuditLeaf& leaf) const {
  const bool kind_fits = !kind || leaf.kind == *kind || leaf.kind.starts_with(*kind + '.');
  return kind_fits && (!subject || leaf.subject == *subject);
}

void LeafPrinter::print(std::uint64_t index, const merkle::AuditLeaf& leaf) {
  if (full() || index < filter_.first || !filter_.takes(leaf)) return;
  if (json_) out_ << (printed_ == 0 ? "{\"leaves\":[" : ",") << json::write(leaf_json(index, leaf));
  else out_ << leaf_line(index, leaf);
  ++printed_;
}

void LeafPrinter::end() {
  if (json_) out_ << (printed_ == 0 ? "{\"leaves\":[" : "") << "]}\n";
  out_.flush();
}

Result<CheckedExport> check_export(const ExportOptions& options) {
  CLOISTER_TRY(kept, read_heads(options.heads));
  CLOISTER_TRY(keys, audit_keys(options.trust));
  if (keys.empty()) return CheckedExport{without_trust(), std::nullopt, 0};
  std::uint64_t complete_to = 0;
  for (const auto& one : kept) complete_to = std::max(complete_to, one.head.head.tree_size);
  merkle::ExportCheck check{std::move(keys), std::move(kept)};
  CLOISTER_CHECK(read_pieces(options.file, [&check](std::string_view piece) {
    check.feed(piece);
    return !check.finding();
  }));
  const auto& finding = check.finish();
  if (!finding) return CheckedExport{std::nullopt, std::move(check), complete_to};
  // No answer, and not a bad one.
  if (finding->fault == merkle::ExportFault::earlier_head_before_export) return Error{Errc::invalid_argument, finding->detail};
  return CheckedExport{rejection_of(*finding), std::nullopt, 0};
}

Result<void> for_each_leaf(const fs::path& file, const std::function<bool(std::uint64_t, const merkle::AuditLeaf&)>& on_leaf) {
  std::string line;
  bool enough = false;
  std::optional<Error> failed;
  const auto take_line = [&]() -> Result<void> {
    CLOISTER_TRY(value, json::parse(line));
    if (value.find("leaf") == nullptr) return {};
    CLOISTER_TRY(entry, merkle::parse_export_entry(value));
    const auto* exported = std::get_if<merkle::ExportedLeaf>(&entry);
    if (exported == nullptr) return {};
    CLOISTER_TRY(leaf, merkle::decode_audit_leaf(exported->leaf));
    enough = !on_leaf(exported->index, leaf);
    return {};
  };
  CLOISTER_CHECK(read_pieces(file, [&](std::string_view piece) {
    while (!piece.empty()) {
      const auto end = piece.find('\n');
      line += piece.substr(0, end);
      if (line.size() > merkle::kMaxExportLine) failed = Error{Errc::limit_exceeded, file.string() + ": it changed meanwhile"};
      if (failed || end == std::string_view::npos) break;
      if (auto taken = take_line(); !taken) failed = taken.error().in(file.string());
      line.clear();
      piece.remove_prefix(end + 1);
      if (failed || enough) break;
    }
    return !failed && !enough;
  }));
  if (failed) return *failed;
  return {};
}

void add_audit_verify(CLI::App& audit, Context& context) {
  auto* command = audit.add_subcommand(
      "verify",
      "Check an export offline: exit 0 accepted, 2 rejected, 1 failed. That its end is all there, heads kept before show");
  const auto options = std::make_shared<Options>();
  command->add_option("EXPORT", options->file, "what `cloister audit export` wrote")->required();
  command->add_option("--head", options->heads,
                      "a head that was kept: what `cloister audit head --json` printed, or a copy of the server's "
                      "audit-head.cbor; may be given more than once")
      ->allow_extra_args(false);
  add_audit_trust_options(*command, options->trust);
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &context] { verify(*options, context); });
}

}  // namespace cloister::cli
