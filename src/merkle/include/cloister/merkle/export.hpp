#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/merkle/tree.hpp"

/// A log as a file that anybody can check (docs/audit.md): JSON lines, each ended by a line feed. First the header, then
/// the entries in order, each of the log's signed heads behind the last entry that it covers; a head is the last line.
///
///   {"format":"cloister/audit-export/1","log":"log-…","key":"HEX","from":0,"peaks":[]}
///   {"index":0,"leaf":"BASE64"}
///   {"size":1,"head":"BASE64"}
namespace cloister::merkle {

inline constexpr std::string_view kExportFormat = "cloister/audit-export/1";
/// Of a line, without its end: a leaf of 16 KiB in base64 and what is around it.
inline constexpr std::size_t kMaxExportLine = 24 * 1024;

/// Which log, and where the export begins.
struct ExportHeader {
  std::string log_id;
  crypto::Ed25519Public key{};  // as the export says; no anchor
  std::uint64_t from = 0;       // index of the first entry
  std::vector<Hash> peaks;      // of the tree of the entries before it (`Frontier::peaks`)
  friend bool operator==(const ExportHeader&, const ExportHeader&) = default;
};
struct ExportedLeaf {
  std::uint64_t index = 0;
  Bytes leaf;  // as it was hashed
  friend bool operator==(const ExportedLeaf&, const ExportedLeaf&) = default;
};
using ExportEntry = std::variant<ExportedLeaf, SignedHead>;

[[nodiscard]] codec::json::Value to_json(const ExportHeader& header);
[[nodiscard]] codec::json::Value to_json(const ExportEntry& entry);
/// Strict: unknown members and other formats are refused. A leaf is not decoded.
[[nodiscard]] Result<ExportHeader> parse_export_header(const codec::json::Value& value);
[[nodiscard]] Result<ExportEntry> parse_export_entry(const codec::json::Value& value);

/// {"log", "size", "root", "time", "signature", "key"}: a head as the API and `cloister audit head --json` show it.
[[nodiscard]] codec::json::Value head_json(const SignedHead& head, const crypto::Ed25519Public& key);
/// A head that somebody kept, in one of the forms in which there are any: the object above (with "trusted", too), an
/// object that has it as "head", or an encoded `SignedHead` as the server's head file is. The key in it is nobody's
/// anchor and not given back.
[[nodiscard]] Result<SignedHead> read_kept_head(ByteView bytes);

/// What can be wrong with an export.
enum class ExportFault {
  line_malformed,                    // no line of an export
  entry_malformed,                   // no audit leaf in its one encoding
  entry_out_of_place,                // missing, twice, or in another order
  head_out_of_place,                 // not behind as many entries as it covers: some were inserted or removed
  entries_changed,                   // not those that the log signed
  head_of_another_log,               // among this one's
  head_signature_invalid,
  key_not_trusted,
  cut_off,                           // its end is missing
  earlier_head_of_another_log,
  earlier_head_signature_invalid,
  earlier_head_before_export,        // covers less than is before the export's first entry: nothing can be said
  tail_removed,                      // an earlier head covers more
  head_conflicts,                    // an earlier head of the same size has another root
  history_forked,                    // an earlier, smaller head is of another history
};
/// The enumerator's name.
[[nodiscard]] std::string_view to_string(ExportFault fault) noexcept;

struct ExportFinding {
  ExportFault fault{};
  std::string detail;  // which entry, expected and got
  /// The entries among which it is, where the log can tell.
  std::optional<std::uint64_t> first;
  std::optional<std::uint64_t> last;
};

/// A head that somebody kept, and what it is called in findings.
struct KeptHead {
  std::string name;
  SignedHead head;
};

/// Checks an export as it is read, in memory that does not grow with it. Every entry's encoding and position, the tree
/// under every head in it, and the signatures: by a key of `trusted`, and nothing inside the export is one. What is in
/// the export is then what the log signed; that nothing was removed at its end, only heads show that were kept elsewhere.
/// Not thread-safe.
class ExportCheck {
 public:
  using OnLeaf = std::function<void(std::uint64_t index, const AuditLeaf& leaf)>;
  /// `on_leaf` is called for every entry in turn, before a head has shown that it is the log's.
  ExportCheck(std::vector<crypto::Ed25519Public> trusted, std::vector<KeptHead> kept, OnLeaf on_leaf = {});

  /// The next bytes of the export. After the first finding they are ignored.
  void feed(std::string_view bytes);
  /// The end. Nothing when the export is what it says and continues every head that was kept; else the first finding.
  [[nodiscard]] const std::optional<ExportFinding>& finish();
  [[nodiscard]] const std::optional<ExportFinding>& finding() const noexcept { return finding_; }

  // of an export without a finding, once it is finished
  [[nodiscard]] const ExportHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const SignedHead& head() const noexcept { return *newest_; }
  [[nodiscard]] std::uint64_t heads() const noexcept { return heads_; }
  /// The first entry, where it says that the log began because a rollback was accepted.
  [[nodiscard]] const std::optional<AuditLeaf>& rollback() const noexcept { return rollback_; }

 private:
  using Range = std::pair<std::uint64_t, std::uint64_t>;
  void refuse(ExportFault fault, std::string detail, std::optional<Range> entries = std::nullopt);
  void take_line(std::string_view line);
  void take(ExportHeader header);
  void take(ExportedLeaf leaf);
  void take(SignedHead head);
  void compare_kept();
  struct Fork {
    std::size_t kept;     // index in kept_
    std::uint64_t since;  // entries that were proven before it
  };
  void refuse_fork(const Fork& fork, std::uint64_t size);
  void refuse_conflict(std::size_t kept);
  void refuse_root();
  std::vector<crypto::Ed25519Public> trusted_;
  std::vector<KeptHead> kept_;  // smallest first
  OnLeaf on_leaf_;
  std::string line_;  // what there is of the next one
  std::uint64_t lines_ = 0;
  std::optional<ExportHeader> header_;
  Frontier frontier_;
  std::size_t compared_ = 0;     // how many of `kept_`
  std::uint64_t proven_ = 0;     // entries under the newest head that holds
  bool before_proven_ = false;   // what the header says of the entries before the first
  std::uint64_t heads_ = 0;
  std::optional<SignedHead> newest_;
  std::optional<AuditLeaf> rollback_;
  std::optional<Fork> forked_;  // unless the entries turn out to be changed
  std::optional<ExportFinding> finding_;
};

}  // namespace cloister::merkle
