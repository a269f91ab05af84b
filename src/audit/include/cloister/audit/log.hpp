#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/kms/kms.hpp"
#include "cloister/merkle/export.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/merkle/tree.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::audit {

/// The Kms's key that signs heads.
inline constexpr std::string_view kSigningKey = "audit";

/// Of a leaf.
using Details = std::vector<std::pair<std::string, merkle::DetailValue>>;

/// The append-only log. A leaf is a row that commits with the act that it tells of; `advance` builds the tree over the
/// rows and signs its head. The last head is also kept in a file beside the database, so that a database that was set
/// back is found. Thread-safe; everything it is made from outlives it.
class Log {
 public:
  struct Options {
    std::filesystem::path head_file;  // "audit-head.cbor" beside the database, or on another disk
    /// Accepts that database and head file do not agree: begins a new log, whose first leaf ("log.rollback") names
    /// both heads.
    bool accept_rollback = false;
  };
  /// Continues the newest log, or begins the first. `database_behind_head` when the database does not hold what the
  /// head file says it held, or the file of a log with leaves is missing; `storage_corrupt` when the database's own
  /// last head is not of this key, or not over its tree.
  [[nodiscard]] static Result<std::unique_ptr<Log>> open(storage::Database& database, const kms::Kms& kms,
                                                         Random& random, const Options& options, UnixTime now);

  /// What else is to happen in the transaction that hands a log on; gives details of the leaf that tells of it.
  using With = std::function<Result<Details>(storage::Transaction&)>;
  /// Ends the log that `from` signs and begins one that `to` signs, in one transaction with `with`: the old log's last leaf
  /// ("log.handed_on", under a head that `from` signs) names the new log and its key, the new log's first leaf ("log.taken_over")
  /// the old one, its key, size and root. Where the database was handed on before and the head file was not (a crash in
  /// between), only that is made up for. Returns whether the database was changed. Errors: as `open` with `from`; what `with` says.
  [[nodiscard]] static Result<bool> hand_on(storage::Database& database, const kms::Kms& from, const kms::Kms& to, Random& random,
                                            const std::filesystem::path& head_file, UnixTime now, const With& with);

  /// Whether the database's newest log is signed by this keeper's key.
  [[nodiscard]] static Result<bool> is_of(storage::Database& database, const kms::Kms& kms);

  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  /// What heads are signed with: goes into trust files.
  [[nodiscard]] const crypto::Ed25519Public& key() const noexcept { return key_; }

  /// Adds a leaf in the transaction of the act.
  [[nodiscard]] Result<void> append(storage::Transaction& transaction, const merkle::AuditLeaf& leaf);

  /// Brings the tree up to the committed rows; returns the newest head, which is signed, stored and in the head file
  /// when this returns. A log that did not grow keeps its head. To be called about once a second.
  [[nodiscard]] Result<merkle::SignedHead> advance(UnixTime now);
  /// The same after a commit, for acts that are answered only once every later head proves them: of revocations, and of what
  /// guests are judged by. The error, of the storage or the keeper of keys, says that the act holds all the same. To be called
  /// without a transaction.
  [[nodiscard]] Result<void> cover(UnixTime now);
  /// The newest head.
  [[nodiscard]] merkle::SignedHead head() const;

  /// The encoded leaf; `not_found`.
  [[nodiscard]] Result<Bytes> leaf(std::uint64_t index) const;
  /// At most `limit` (1000) encoded leaves from `first` on.
  [[nodiscard]] Result<std::vector<Bytes>> leaves(std::uint64_t first, std::uint32_t limit) const;
  /// The newest leaf of a kind about a subject; `not_found`. It may be newer than the head.
  [[nodiscard]] Result<std::uint64_t> find(std::string_view kind, std::string_view subject) const;
  /// A leaf that no later one is about the same as.
  struct Newest {
    std::uint64_t index = 0;
    merkle::AuditLeaf leaf;
  };
  using About = std::function<std::string(const merkle::AuditLeaf&)>;
  /// Of the leaves by which revocations, policies and reference values were changed, the newest by what `about` says that each is
  /// about: of this log, and of those that it goes on from. Where a head covers one, it is checked to be under it:
  /// `storage_corrupt`. Looks at no other leaves.
  [[nodiscard]] Result<std::map<std::string, Newest>> newest_changes(const storage::Reading& reading, const About& about) const;
  /// That a leaf stands in the tree of that size, which must not be larger than the newest head's. `not_found` while
  /// the head does not cover the leaf.
  [[nodiscard]] Result<merkle::InclusionProof> prove_inclusion(std::uint64_t index, std::uint64_t tree_size) const;
  [[nodiscard]] Result<merkle::ConsistencyProof> prove_consistency(std::uint64_t first_size,
                                                                   std::uint64_t second_size) const;
  /// A log that the database has.
  struct Info {
    std::string id;
    UnixTime started{};
    std::uint64_t leaves = 0;  // with those that no head covers: of a log that was given up, the last second's
    std::uint64_t size = 0;    // under its newest head
  };
  /// Every one, oldest first; the last is this one.
  [[nodiscard]] Result<std::vector<Info>> logs() const;

  struct ExportQuery {
    std::string log = {};       // empty: this one
    std::uint64_t from = 0;     // index of the first leaf
    std::optional<std::uint64_t> to = {};  // the size of a head that there is; else of the newest
  };
  /// A part of an export, as much as is good to have at once: `header` for the file that begins with it.
  struct ExportPage {
    merkle::ExportHeader header;
    std::vector<merkle::ExportEntry> entries;
    std::uint64_t to = 0;
    std::uint64_t next = 0;  // where the next page begins; `to` after the last
  };
  /// `not_found` for a log or a head that there is not, `invalid_argument` when `from` is beyond `to`.
  [[nodiscard]] Result<ExportPage> export_page(const ExportQuery& query) const;

  /// Hashes every leaf again and compares with the newest head: `storage_corrupt` when a row was changed.
  [[nodiscard]] Result<void> check() const;

 private:
  Log(storage::Database& database, const kms::Kms& kms, std::filesystem::path head_file,
      const crypto::Ed25519Public& key)
      : database_{database}, kms_{kms}, head_file_{std::move(head_file)}, key_{key} {}
  struct Grown {
    merkle::Frontier frontier;
    merkle::SignedHead head;
  };
  /// A log, and what a head that was verified says of it.
  struct Link {
    std::string id;
    std::uint64_t size = 0;
    merkle::Hash root{};
  };
  [[nodiscard]] Result<std::vector<Link>> chain(const storage::Reading& reading) const;
  [[nodiscard]] Result<Grown> grow_in(storage::Transaction& transaction, UnixTime now) const;
  [[nodiscard]] Result<void> resume(merkle::SignedHead head);
  [[nodiscard]] Result<void> grow(UnixTime now);
  [[nodiscard]] Result<void> publish();
  [[nodiscard]] Result<std::uint64_t> covered_size(const storage::Reading& reading, const std::string& log) const;
  storage::Database& database_;
  const kms::Kms& kms_;
  std::filesystem::path head_file_;
  std::string id_;
  crypto::Ed25519Public key_;
  std::mutex advancing_;  // one sequencer at a time; guards the two below
  merkle::Frontier frontier_;
  merkle::SignedHead newest_;  // in the database, on its way to the head file
  mutable std::mutex mutex_;   // guards the one below
  merkle::SignedHead head_;    // in the head file too
};

}  // namespace cloister::audit
