#include "cloister/merkle/export.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/merkle/kinds.hpp"

namespace cloister::merkle {
namespace {

namespace json = codec::json;

constexpr std::size_t kMaxKeptHead = 16 * 1024;
constexpr std::size_t kMaxPeaks = 63;
constexpr std::int64_t kMaxIndex = std::int64_t{1} << 62;

std::string entries_text(std::uint64_t first, std::uint64_t last) {
  if (first == last) return "entry " + std::to_string(first);
  return "entries " + std::to_string(first) + " to " + std::to_string(last);
}

Result<SignedHead> parse_head(const json::Value& value) {
  json::Fields fields{value, "audit head"};
  SignedHead out;
  out.head.log_id = fields.string("log");
  out.head.tree_size = static_cast<std::uint64_t>(fields.integer("size", 0, kMaxIndex));
  out.head.root = fields.hex_array<32>("root");
  const auto time = fields.string("time");
  out.signature = fields.hex_array<64>("signature");
  static_cast<void>(fields.optional_string("key"));
  static_cast<void>(fields.optional_boolean("trusted"));
  CLOISTER_CHECK(fields.finish());
  if (!valid_id(out.head.log_id)) return Error{Errc::malformed, "audit head: the log's name is no id"};
  CLOISTER_TRY(parsed, parse_rfc3339(time));
  out.head.time = parsed;
  return out;
}

struct EntryJson {
  json::Value operator()(const ExportedLeaf& leaf) const {
    return json::Object{{"index", leaf.index}, {"leaf", codec::to_base64(leaf.leaf)}};
  }
  json::Value operator()(const SignedHead& head) const {
    return json::Object{{"size", head.head.tree_size}, {"head", codec::to_base64(encode(head))}};
  }
};

}  // namespace

json::Value to_json(const ExportHeader& header) {
  json::Array peaks;
  for (const auto& peak : header.peaks) peaks.emplace_back(codec::to_hex(peak));
  return json::Object{{"format", kExportFormat},
                      {"log", header.log_id},
                      {"key", codec::to_hex(header.key)},
                      {"from", header.from},
                      {"peaks", std::move(peaks)}};
}

json::Value to_json(const ExportEntry& entry) { return std::visit(EntryJson{}, entry); }

Result<ExportHeader> parse_export_header(const json::Value& value) {
  json::Fields fields{value, "export"};
  ExportHeader out;
  const auto format = fields.string("format");
  out.log_id = fields.string("log");
  out.key = fields.hex_array<32>("key");
  out.from = static_cast<std::uint64_t>(fields.integer("from", 0, kMaxIndex));
  const auto& peaks = fields.array("peaks");
  if (!fields.failed() && format != kExportFormat) {
    return Error{Errc::unsupported, "export: the format " + std::string{kExportFormat} + " expected"};
  }
  CLOISTER_CHECK(fields.finish());
  if (!valid_id(out.log_id)) return Error{Errc::malformed, "export: the log's name is no id"};
  if (peaks.size() > kMaxPeaks) return Error{Errc::limit_exceeded, "export: at most 63 peaks expected"};
  for (const auto& peak : peaks) {
    auto hash = codec::array_from_hex<32>(peak.as_string() == nullptr ? "" : *peak.as_string());
    if (!hash) return hash.error().in("export: peaks");
    out.peaks.push_back(*hash);
  }
  return out;
}

Result<ExportEntry> parse_export_entry(const json::Value& value) {
  json::Fields fields{value, "export"};
  if (value.find("leaf") != nullptr) {
    ExportedLeaf out;
    out.index = static_cast<std::uint64_t>(fields.integer("index", 0, kMaxIndex));
    out.leaf = fields.base64("leaf");
    CLOISTER_CHECK(fields.finish());
    return ExportEntry{std::move(out)};
  }
  const auto size = static_cast<std::uint64_t>(fields.integer("size", 0, kMaxIndex));
  const auto bytes = fields.base64("head");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(head, decode_signed_head(bytes));
  if (head.head.tree_size != size) {
    return Error{Errc::malformed, "export: a head of size " + std::to_string(size) + " expected, got " +
                                      std::to_string(head.head.tree_size)};
  }
  return ExportEntry{std::move(head)};
}

json::Value head_json(const SignedHead& head, const crypto::Ed25519Public& key) {
  return json::Object{{"log", head.head.log_id},
                      {"size", head.head.tree_size},
                      {"root", codec::to_hex(head.head.root)},
                      {"time", to_rfc3339(head.head.time)},
                      {"signature", codec::to_hex(head.signature)},
                      {"key", codec::to_hex(key)}};
}

Result<SignedHead> read_kept_head(ByteView bytes) {
  if (bytes.size() > kMaxKeptHead) return Error{Errc::limit_exceeded, "a head of at most 16 KiB expected"};
  // No JSON begins with the byte of a CBOR array (RFC 8949 section 3).
  if (!bytes.empty() && bytes.front() >= 0x80) return decode_signed_head(bytes);
  auto value = json::parse(as_text(bytes), {.bytes = kMaxKeptHead});
  if (!value) return value.error().in("a head as `cloister audit head --json` prints it, or as the server keeps it");
  const auto* inside = value->find("head");
  return parse_head(inside != nullptr ? *inside : *value);
}

std::string_view to_string(ExportFault fault) noexcept {
  switch (fault) {
    case ExportFault::line_malformed: return "line_malformed";
    case ExportFault::entry_malformed: return "entry_malformed";
    case ExportFault::entry_out_of_place: return "entry_out_of_place";
    case ExportFault::head_out_of_place: return "head_out_of_place";
    case ExportFault::entries_changed: return "entries_changed";
    case ExportFault::head_of_another_log: return "head_of_another_log";
    case ExportFault::head_signature_invalid: return "head_signature_invalid";
    case ExportFault::key_not_trusted: return "key_not_trusted";
    case ExportFault::cut_off: return "cut_off";
    case ExportFault::earlier_head_of_another_log: return "earlier_head_of_another_log";
    case ExportFault::earlier_head_signature_invalid: return "earlier_head_signature_invalid";
    case ExportFault::earlier_head_before_export: return "earlier_head_before_export";
    case ExportFault::tail_removed: return "tail_removed";
    case ExportFault::head_conflicts: return "head_conflicts";
    case ExportFault::history_forked: return "history_forked";
  }
  return "line_malformed";
}

ExportCheck::ExportCheck(std::vector<crypto::Ed25519Public> trusted, std::vector<KeptHead> kept, OnLeaf on_leaf)
    : trusted_{std::move(trusted)}, kept_{std::move(kept)}, on_leaf_{std::move(on_leaf)} {
  std::ranges::stable_sort(kept_, {}, [](const KeptHead& one) { return one.head.head.tree_size; });
}

void ExportCheck::refuse(ExportFault fault, std::string detail, std::optional<Range> entries) {
  if (finding_) return;
  finding_ = ExportFinding{fault, std::move(detail), std::nullopt, std::nullopt};
  if (!entries) return;
  finding_->first = entries->first;
  finding_->last = entries->second;
}

void ExportCheck::feed(std::string_view bytes) {
  while (!bytes.empty() && !finding_) {
    const auto end = bytes.find('\n');
    const auto part = bytes.substr(0, end);
    if (part.size() > kMaxExportLine - line_.size()) {
      return refuse(ExportFault::line_malformed, "line " + std::to_string(lines_ + 1) + ": at most " +
                                                     std::to_string(kMaxExportLine) + " bytes expected");
    }
    line_ += part;
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    ++lines_;
    take_line(line_);
    line_.clear();
  }
}

void ExportCheck::take_line(std::string_view line) {
  const auto malformed = [this](const Error& error) {
    refuse(ExportFault::line_malformed, "line " + std::to_string(lines_) + ": " + error.text());
  };
  const auto value = json::parse(line, {.bytes = kMaxExportLine, .depth = 2, .values = kMaxPeaks + 8});
  if (!value) return malformed(value.error());
  if (!header_) {
    auto header = parse_export_header(*value);
    if (!header) return malformed(header.error());
    return take(*std::move(header));
  }
  auto entry = parse_export_entry(*value);
  if (!entry) return malformed(entry.error());
  std::visit([this](auto& what) { take(std::move(what)); }, *entry);
}

void ExportCheck::take(ExportHeader header) {
  auto frontier = Frontier::from_peaks(header.from, header.peaks);
  if (!frontier) return refuse(ExportFault::line_malformed, "line 1: " + frontier.error().text());
  if (std::ranges::find(trusted_, header.key) == trusted_.end()) {
    return refuse(ExportFault::key_not_trusted,
                  "the log is signed by the key " + codec::to_hex(header.key) + ", which nothing here trusts");
  }
  for (const auto& [name, kept] : kept_) {
    if (kept.head.log_id != header.log_id) {
      return refuse(ExportFault::earlier_head_of_another_log,
                    name + " is a head of " + kept.head.log_id + ", the export is of " + header.log_id);
    }
    if (!verify(kept, header.key)) {
      return refuse(ExportFault::earlier_head_signature_invalid, name + " is not signed by the log's key");
    }
    if (kept.head.tree_size < header.from) {
      return refuse(ExportFault::earlier_head_before_export,
                    name + " covers " + std::to_string(kept.head.tree_size) + " entries, and the export begins at " +
                        std::to_string(header.from) + ": one that begins there or before is needed");
    }
  }
  frontier_ = *std::move(frontier);
  proven_ = header.from;
  before_proven_ = header.from == 0;
  header_ = std::move(header);
  compare_kept();
}

void ExportCheck::take(ExportedLeaf exported) {
  const auto expected = frontier_.size();
  if (exported.index != expected) {
    const bool ahead = exported.index > expected;
    return refuse(ExportFault::entry_out_of_place,
                  "entry " + std::to_string(expected) + " expected, got " + std::to_string(exported.index) +
                      (ahead ? ": it was removed, or its place was changed" : ": it stands here too, or out of order"),
                  ahead ? Range{expected, exported.index - 1} : Range{exported.index, exported.index});
  }
  if (expected >= static_cast<std::uint64_t>(kMaxIndex)) {
    return refuse(ExportFault::entry_out_of_place, "at most 2^62 entries expected", Range{expected, expected});
  }
  const auto leaf = decode_audit_leaf(exported.leaf);
  if (!leaf) {
    return refuse(ExportFault::entry_malformed, "entry " + std::to_string(expected) + ": " + leaf.error().text(),
                  Range{expected, expected});
  }
  if (expected == 0 && leaf->kind == kRollbackKind) rollback_ = *leaf;
  if (on_leaf_) on_leaf_(expected, *leaf);
  static_cast<void>(frontier_.append(leaf_hash(exported.leaf)));
  compare_kept();
}

/// Heads that cover exactly what was read so far. A root that differs is a fork only if the entries are the log's own,
/// which its next head says.
void ExportCheck::compare_kept() {
  for (; compared_ < kept_.size() && kept_[compared_].head.head.tree_size == frontier_.size(); ++compared_) {
    if (forked_) continue;
    if (kept_[compared_].head.head.root != frontier_.root()) {
      forked_ = Fork{compared_, proven_};
    } else {
      proven_ = frontier_.size();
      before_proven_ = true;
    }
  }
}

/// The export's own head holds, and a head that was kept does not.
void ExportCheck::refuse_fork(const Fork& fork, std::uint64_t size) {
  const auto& [name, kept] = kept_[fork.kept];
  const auto covered = kept.head.tree_size;
  if (covered == size) return refuse_conflict(fork.kept);
  refuse(ExportFault::history_forked,
         name + " covers " + std::to_string(covered) + " entries, which are not those of the export: the log has two histories",
         covered > fork.since ? std::optional{Range{fork.since, covered - 1}} : std::nullopt);
}

void ExportCheck::refuse_conflict(std::size_t kept) {
  refuse(ExportFault::head_conflicts, "two heads of size " + std::to_string(frontier_.size()) +
                                          " are signed, with different roots: the export's, and " + kept_[kept].name);
}

void ExportCheck::refuse_root() {
  const auto read = frontier_.size();
  const auto before = std::to_string(header_->from);
  if (read == proven_) {
    if (before_proven_ && compared_ > 0) return refuse_conflict(compared_ - 1);
    return refuse(ExportFault::entries_changed,
                  "what the export says of the entries before " + before + " is not what the log signed");
  }
  auto detail = entries_text(proven_, read - 1) + " of the export: not what the log signed";
  if (read > proven_ + 1) detail += "; one of them was changed, inserted, removed or moved";
  if (!before_proven_) detail += ", or what it says of those before " + before + " is wrong";
  refuse(ExportFault::entries_changed, std::move(detail), Range{proven_, read - 1});
}

void ExportCheck::take(SignedHead head) {
  const auto size = head.head.tree_size;
  const auto read = frontier_.size();
  if (head.head.log_id != header_->log_id) {
    return refuse(ExportFault::head_of_another_log,
                  "a head of " + header_->log_id + " expected, got one of " + head.head.log_id);
  }
  if (size != read) {
    const auto what = size < read ? "an entry was inserted, or the head moved" : "an entry was removed, or the head moved";
    return refuse(ExportFault::head_out_of_place,
                  "a head of size " + std::to_string(size) + " stands behind " + std::to_string(read) + " entries: " + what,
                  read > proven_ ? std::optional{Range{proven_, read - 1}} : std::nullopt);
  }
  if (newest_ && newest_->head.tree_size == size) {
    return refuse(ExportFault::head_out_of_place, "a second head of size " + std::to_string(size));
  }
  if (!verify(head, header_->key)) {
    return refuse(ExportFault::head_signature_invalid,
                  "the head of size " + std::to_string(size) + " is not signed by the log's key");
  }
  if (head.head.root != frontier_.root()) return refuse_root();
  if (forked_) return refuse_fork(*forked_, size);
  proven_ = size;
  before_proven_ = true;
  ++heads_;
  newest_ = std::move(head);
}

const std::optional<ExportFinding>& ExportCheck::finish() {
  if (finding_) return finding_;
  if (!line_.empty()) {
    refuse(ExportFault::cut_off, "the last line has no end: the export is not whole");
  } else if (!header_) {
    refuse(ExportFault::cut_off, "an export has a first line");
  } else if (!newest_ || newest_->head.tree_size != frontier_.size()) {
    const auto read = frontier_.size();
    refuse(ExportFault::cut_off,
           read > header_->from ? "it ends with entry " + std::to_string(read - 1) + ", which no head covers"
                                : "it ends without a head");
  } else if (!kept_.empty() && kept_.back().head.head.tree_size > frontier_.size()) {
    const auto& [name, kept] = kept_.back();
    const auto read = frontier_.size();
    const auto last = kept.head.tree_size - 1;
    refuse(ExportFault::tail_removed,
           "the log had " + std::to_string(kept.head.tree_size) + " entries when " + name + " was signed, and the export has " +
               std::to_string(read) + ": " + entries_text(read, last) + (read == last ? " is missing" : " are missing"),
           Range{read, last});
  }
  return finding_;
}

}  // namespace cloister::merkle
