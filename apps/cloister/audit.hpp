#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/merkle/export.hpp"

/// What the commands about the audit log share.
namespace cloister::cli {

/// Whose heads are believed: what the command line says.
struct AuditTrust {
  std::optional<std::filesystem::path> file;
  std::vector<std::string> keys;  // hex
};
void add_audit_trust_options(CLI::App& command, AuditTrust& trust);
/// The keys that were given, else those of the trust file: the one given, else `of_profile`, else the user's own. Empty
/// where nobody names one.
[[nodiscard]] Result<std::vector<crypto::Ed25519Public>> audit_keys(
    const AuditTrust& trust, const std::optional<std::filesystem::path>& of_profile = std::nullopt);

/// Why the answer is no.
struct AuditRejection {
  std::string code;
  std::string detail;
  std::optional<std::uint64_t> first;  // entries among which it is, where that is known
  std::optional<std::uint64_t> last;
};
[[nodiscard]] AuditRejection rejection_of(const merkle::ExportFinding& finding);
/// That no key was given that heads could be verified with.
[[nodiscard]] AuditRejection without_trust();
/// Prints it, and sets the exit code.
void reject(Context& context, const AuditRejection& why, bool as_json);

[[nodiscard]] codec::json::Value leaf_json(std::uint64_t index, const merkle::AuditLeaf& leaf);
/// One line: what happened when, to what, and what matters of it.
[[nodiscard]] std::string leaf_line(std::uint64_t index, const merkle::AuditLeaf& leaf);

/// A head that was kept in a file; `malformed` with the file's name.
[[nodiscard]] Result<merkle::SignedHead> read_head_file(const std::filesystem::path& file);

/// Which entries are wanted.
struct LeafFilter {
  std::uint64_t first = 0;
  std::uint64_t count = 100;
  std::optional<std::string> kind;  // or the part of it before the dot
  std::optional<std::string> subject;
  [[nodiscard]] bool takes(const merkle::AuditLeaf& leaf) const;
};
/// Prints entries as they come: lines, or one JSON object that `end` closes.
class LeafPrinter {
 public:
  LeafPrinter(LeafFilter filter, std::ostream& out, bool as_json) : filter_{std::move(filter)}, out_{out}, json_{as_json} {}
  void print(std::uint64_t index, const merkle::AuditLeaf& leaf);
  [[nodiscard]] bool full() const noexcept { return printed_ >= filter_.count; }
  void end();

 private:
  LeafFilter filter_;
  std::ostream& out_;
  bool json_;
  std::uint64_t printed_ = 0;
};

/// An export on this disk.
struct ExportOptions {
  std::filesystem::path file;
  AuditTrust trust;
  std::vector<std::filesystem::path> heads;
};
/// An export that is accepted, or why it is not.
struct CheckedExport {
  std::optional<AuditRejection> rejection;
  std::optional<merkle::ExportCheck> check;  // finished; of an accepted one
  std::uint64_t complete_to = 0;             // entries that are all there, by the heads that were kept
};
/// Errors are those of the world: files, and heads of which the export can say nothing.
[[nodiscard]] Result<CheckedExport> check_export(const ExportOptions& options);
/// Calls `on_leaf` for every entry of an export that was checked, until it says that it has enough.
[[nodiscard]] Result<void> for_each_leaf(const std::filesystem::path& file,
                                         const std::function<bool(std::uint64_t, const merkle::AuditLeaf&)>& on_leaf);
void add_audit_verify(CLI::App& audit, Context& context);

}  // namespace cloister::cli
