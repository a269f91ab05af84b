#include "cloister/audit/log.hpp"

#include <algorithm>

#include "cloister/core/ids.hpp"
#include "cloister/storage/audit_rows.hpp"
#include "cloister/storage/files.hpp"

namespace cloister::audit {
namespace {

namespace rows = storage::audit_rows;

constexpr std::size_t kMaxHeadFile = 4096;
constexpr std::uint32_t kBatch = 512;
constexpr std::uint32_t kMaxLeaves = 1000;
constexpr std::string_view kRollbackKind = "log.rollback";
constexpr std::string_view kHandedOnKind = "log.handed_on";
constexpr std::string_view kTakenOverKind = "log.taken_over";

/// The tree as the database keeps it.
class StoredNodes final : public merkle::Nodes {
 public:
  StoredNodes(const storage::Reading& reading, std::string_view log) : reading_{reading}, log_{log} {}
  [[nodiscard]] Result<merkle::Hash> at(std::uint8_t level, std::uint64_t index) const override {
    return rows::node(reading_, log_, level, index);
  }

 private:
  const storage::Reading& reading_;
  std::string_view log_;
};

Result<merkle::SignedHead> sign_head(const kms::Kms& kms, merkle::AuditHead head) {
  CLOISTER_TRY(signature, kms.sign(kSigningKey, merkle::encode(head)));
  return merkle::SignedHead{std::move(head), signature};
}

/// A head that we signed; `storage_corrupt` otherwise.
Result<merkle::SignedHead> read_head(ByteView bytes, const crypto::Ed25519Public& key) {
  auto head = merkle::decode_signed_head(bytes);
  if (!head) return Error{Errc::storage_corrupt, head.error().text()};
  if (!merkle::verify(*head, key)) return Error{Errc::storage_corrupt, "the head is not signed by this server's key"};
  return head;
}

Result<std::optional<merkle::SignedHead>> read_head_file(const std::filesystem::path& file,
                                                         const crypto::Ed25519Public& key) {
  CLOISTER_TRY(bytes, storage::read_small_file(file, kMaxHeadFile));
  if (!bytes) return std::optional<merkle::SignedHead>{};
  auto head = read_head(*bytes, key);
  if (!head) return head.error().in(file.string());
  return std::optional{*std::move(head)};
}

/// The database's newest log and its last head, which is checked to be ours and over its tree.
Result<std::optional<merkle::SignedHead>> read_database_head(const storage::Reading& reading,
                                                             const crypto::Ed25519Public& key) {
  CLOISTER_TRY(log, rows::current_log(reading));
  if (!log) return std::optional<merkle::SignedHead>{};
  CLOISTER_TRY(bytes, rows::last_head(reading, *log));
  if (!bytes) return Error{Errc::storage_corrupt, "audit log " + *log + " has no head"};
  CLOISTER_TRY(stored, read_head(*bytes, key));
  const auto& head = stored.head;
  CLOISTER_TRY(count, rows::count(reading, *log));
  const auto frontier = merkle::Frontier::load(StoredNodes{reading, *log}, head.tree_size);
  if (head.log_id != *log || count < head.tree_size || !frontier || frontier->root() != head.root) {
    return Error{Errc::storage_corrupt, "audit log " + *log + " does not have the tree that its last head says"};
  }
  return std::optional{std::move(stored)};
}

Error behind(std::string why) { return Error{Errc::database_behind_head, std::move(why)}; }

/// `database_behind_head` unless the database's log holds everything that the head file's head covers.
Result<void> compare(const storage::Reading& reading, const merkle::SignedHead& database,
                     const std::optional<merkle::SignedHead>& outside) {
  const auto& log = database.head.log_id;
  if (!outside) {
    CLOISTER_TRY(count, rows::count(reading, log));
    // The file is written before a log's first leaf, so a log without leaves may have lost a race with a crash.
    if (count == 0) return {};
    return behind("audit log " + log + " has " + std::to_string(count) + " leaves, and its head file is missing");
  }
  const auto& kept = outside->head;
  if (kept.log_id != log) return behind("the head file is of log " + kept.log_id + ", the database of log " + log);
  if (kept.tree_size > database.head.tree_size) {
    return behind("the head file covers " + std::to_string(kept.tree_size) + " leaves, the database " +
                  std::to_string(database.head.tree_size));
  }
  CLOISTER_TRY(then, merkle::Frontier::load(StoredNodes{reading, log}, kept.tree_size));
  if (then.root() != kept.root) return behind("the database's log is not the one that the head file covers");
  return {};
}

void describe(merkle::AuditLeaf& leaf, const std::string& who, const std::optional<merkle::SignedHead>& head) {
  if (!head) return;
  leaf.details.emplace_back(who + "_log", head->head.log_id);
  leaf.details.emplace_back(who + "_size", head->head.tree_size);
  leaf.details.emplace_back(who + "_root", to_bytes(ByteView{head->head.root}));
}

/// The head of the database's newest log, if it is of this key.
Result<std::optional<merkle::SignedHead>> head_of_key(const storage::Reading& reading, const crypto::Ed25519Public& key) {
  CLOISTER_TRY(log, rows::current_log(reading));
  if (!log) return std::optional<merkle::SignedHead>{};
  CLOISTER_TRY(bytes, rows::last_head(reading, *log));
  if (!bytes || !read_head(*bytes, key)) return std::optional<merkle::SignedHead>{};
  return read_database_head(reading, key);
}

/// The head file of a database that was handed on: the heir's already, or one of the log before, which the database holds.
Result<void> finish_handing_on(const storage::Reading& reading, const merkle::SignedHead& heir, const crypto::Ed25519Public& from,
                               const crypto::Ed25519Public& to, const std::filesystem::path& head_file) {
  if (const auto kept = read_head_file(head_file, to); kept && *kept) return compare(reading, heir, *kept);
  CLOISTER_TRY(kept, read_head_file(head_file, from));
  if (!kept) return behind("the head file is missing");
  const auto then = merkle::Frontier::load(StoredNodes{reading, kept->head.log_id}, kept->head.tree_size);
  if (!then || then->root() != kept->head.root) {
    return behind("the database does not hold log " + kept->head.log_id + " as the head file covers it");
  }
  return storage::replace_file(head_file, merkle::encode(heir));
}

/// What the database and the head file say, and whether they agree.
struct Found {
  std::optional<merkle::SignedHead> database;
  std::optional<merkle::SignedHead> outside;
  Result<void> agreement;
};

Result<Found> look(storage::Database& database, const std::filesystem::path& head_file,
                   const crypto::Ed25519Public& key) {
  CLOISTER_TRY(snapshot, database.read());
  Found found;
  CLOISTER_TRY(stored, read_database_head(snapshot, key));
  found.database = std::move(stored);
  CLOISTER_TRY(outside, read_head_file(head_file, key));
  found.outside = std::move(outside);
  if (found.database) {
    found.agreement = compare(snapshot, *found.database, found.outside);
  } else if (found.outside) {
    found.agreement = behind("the head file is of log " + found.outside->head.log_id + ", the database has none");
  }
  return found;
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(storage::Database& database, const kms::Kms& kms, Random& random,
                                       const Options& options, UnixTime now) {
  CLOISTER_TRY(key, kms.public_key(kSigningKey));
  CLOISTER_TRY(found, look(database, options.head_file, key));
  const bool rolled_back = !found.agreement;
  if (rolled_back && !options.accept_rollback) return found.agreement.error();

  std::unique_ptr<Log> log{new Log{database, kms, options.head_file, key}};
  if (found.database && !rolled_back) {
    CLOISTER_CHECK(log->resume(*std::move(found.database)));
    return log;
  }
  CLOISTER_CHECK(log->begin(random_id("log", random), now));
  if (rolled_back) {
    merkle::AuditLeaf leaf{now, std::string{kRollbackKind}, log->id_, {}};
    describe(leaf, "database", found.database);
    describe(leaf, "file", found.outside);
    CLOISTER_TRY(transaction, database.write());
    CLOISTER_CHECK(log->append(transaction, leaf));
    CLOISTER_CHECK(transaction.commit());
    CLOISTER_CHECK(log->advance(now));
  }
  return log;
}

Result<bool> Log::is_of(storage::Database& database, const kms::Kms& kms) {
  CLOISTER_TRY(key, kms.public_key(kSigningKey));
  CLOISTER_TRY(snapshot, database.read());
  CLOISTER_TRY(head, head_of_key(snapshot, key));
  return head.has_value();
}

Result<bool> Log::hand_on(storage::Database& database, const kms::Kms& from, const kms::Kms& to, Random& random,
                          const std::filesystem::path& head_file, UnixTime now, const With& with) {
  CLOISTER_TRY(old_key, from.public_key(kSigningKey));
  CLOISTER_TRY(new_key, to.public_key(kSigningKey));
  if (old_key == new_key) return Error{Errc::invalid_argument, "audit log: it is to be handed on to the key that it has"};
  {
    CLOISTER_TRY(snapshot, database.read());
    CLOISTER_TRY(done, head_of_key(snapshot, new_key));
    if (done) {
      CLOISTER_CHECK(finish_handing_on(snapshot, *done, old_key, new_key, head_file));
      return false;
    }
  }
  CLOISTER_TRY(log, open(database, from, random, {head_file, false}, now));
  const std::unique_ptr<Log> heir{new Log{database, to, head_file, new_key}};
  heir->id_ = random_id("log", random);

  CLOISTER_TRY(transaction, database.write());
  CLOISTER_TRY(details, with(transaction));
  merkle::AuditLeaf last{now, std::string{kHandedOnKind}, heir->id_, std::move(details)};
  last.details.emplace_back("key", to_bytes(ByteView{new_key}));
  CLOISTER_CHECK(log->append(transaction, last));
  CLOISTER_TRY(end, log->grow_in(transaction, now));
  CLOISTER_CHECK(heir->begin_in(transaction, now));
  merkle::AuditLeaf first{now, std::string{kTakenOverKind}, log->id_, {}};
  describe(first, "before", end.head);
  first.details.emplace_back("before_key", to_bytes(ByteView{old_key}));
  CLOISTER_CHECK(heir->append(transaction, first));
  CLOISTER_TRY(beginning, heir->grow_in(transaction, now));
  CLOISTER_CHECK(transaction.commit());
  heir->newest_ = std::move(beginning.head);
  CLOISTER_CHECK(heir->publish());
  return true;
}

Result<void> Log::begin(std::string id, UnixTime now) {
  id_ = std::move(id);
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(head, begin_in(transaction, now));
  CLOISTER_CHECK(transaction.commit());
  newest_ = std::move(head);
  return publish();
}

Result<merkle::SignedHead> Log::begin_in(storage::Transaction& transaction, UnixTime now) {
  CLOISTER_TRY(head, sign_head(kms_, {id_, 0, merkle::empty_root(), now}));
  CLOISTER_CHECK(rows::begin_log(transaction, id_, now));
  CLOISTER_CHECK(rows::add_head(transaction, id_, 0, merkle::encode(head)));
  return head;
}

Result<void> Log::resume(merkle::SignedHead head) {
  id_ = head.head.log_id;
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(frontier, merkle::Frontier::load(StoredNodes{snapshot, id_}, head.head.tree_size));
  frontier_ = std::move(frontier);
  newest_ = std::move(head);
  return publish();
}

Result<void> Log::publish() {
  CLOISTER_CHECK(storage::replace_file(head_file_, merkle::encode(newest_)));
  const std::lock_guard held{mutex_};
  head_ = newest_;
  return {};
}

Result<std::uint64_t> Log::append(storage::Transaction& transaction, const merkle::AuditLeaf& leaf) {
  CLOISTER_TRY(encoded, merkle::encode(leaf));
  return rows::append(transaction, id_, leaf.kind, leaf.subject, encoded);
}

Result<Log::Grown> Log::grow_in(storage::Transaction& transaction, UnixTime now) const {
  auto frontier = frontier_;
  for (;;) {
    CLOISTER_TRY(batch, rows::leaves(transaction, id_, frontier.size(), kBatch));
    for (const auto& leaf : batch) {
      for (const auto& node : frontier.append(merkle::leaf_hash(leaf))) {
        CLOISTER_CHECK(rows::add_node(transaction, id_, node.level, node.index, node.hash));
      }
    }
    if (batch.size() < kBatch) break;
  }
  CLOISTER_TRY(head, sign_head(kms_, {id_, frontier.size(), frontier.root(), now}));
  CLOISTER_CHECK(rows::add_head(transaction, id_, frontier.size(), merkle::encode(head)));
  return Grown{std::move(frontier), std::move(head)};
}

Result<void> Log::grow(UnixTime now) {
  CLOISTER_TRY(transaction, database_.write());
  CLOISTER_TRY(grown, grow_in(transaction, now));
  CLOISTER_CHECK(transaction.commit());
  frontier_ = std::move(grown.frontier);
  newest_ = std::move(grown.head);
  return {};
}

Result<merkle::SignedHead> Log::advance(UnixTime now) {
  const std::lock_guard held{advancing_};
  std::uint64_t count = 0;
  {
    CLOISTER_TRY(snapshot, database_.read());
    CLOISTER_TRY(rows_now, rows::count(snapshot, id_));
    count = rows_now;
  }
  if (count > frontier_.size()) CLOISTER_CHECK(grow(now));
  // Also where the file could not be written the time before.
  if (newest_ != head()) CLOISTER_CHECK(publish());
  return newest_;
}

merkle::SignedHead Log::head() const {
  const std::lock_guard held{mutex_};
  return head_;
}

Result<Bytes> Log::leaf(std::uint64_t index) const {
  CLOISTER_TRY(found, leaves(index, 1));
  if (found.empty()) return Error{Errc::not_found, "audit leaf " + std::to_string(index)};
  return std::move(found.front());
}

Result<std::vector<Bytes>> Log::leaves(std::uint64_t first, std::uint32_t limit) const {
  if (first > INT64_MAX) return std::vector<Bytes>{};
  CLOISTER_TRY(snapshot, database_.read());
  return rows::leaves(snapshot, id_, first, std::min(limit, kMaxLeaves));
}

Result<std::uint64_t> Log::find(std::string_view kind, std::string_view subject) const {
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(index, rows::find(snapshot, id_, kind, subject));
  if (!index) return Error{Errc::not_found, "audit leaf of kind " + std::string{kind}};
  return *index;
}

Result<merkle::InclusionProof> Log::prove_inclusion(std::uint64_t index, std::uint64_t tree_size) const {
  const auto covered = head().head.tree_size;
  if (index >= covered || tree_size > covered) {
    return Error{Errc::not_found, "the newest head covers " + std::to_string(covered) + " leaves"};
  }
  CLOISTER_TRY(snapshot, database_.read());
  return merkle::prove_inclusion(StoredNodes{snapshot, id_}, index, tree_size);
}

Result<merkle::ConsistencyProof> Log::prove_consistency(std::uint64_t first_size, std::uint64_t second_size) const {
  const auto covered = head().head.tree_size;
  if (second_size > covered) {
    return Error{Errc::not_found, "the newest head covers " + std::to_string(covered) + " leaves"};
  }
  CLOISTER_TRY(snapshot, database_.read());
  return merkle::prove_consistency(StoredNodes{snapshot, id_}, first_size, second_size);
}

Result<void> Log::check() const {
  const auto expected = head().head;
  merkle::Frontier frontier;
  while (frontier.size() < expected.tree_size) {
    const auto wanted = std::min<std::uint64_t>(kMaxLeaves, expected.tree_size - frontier.size());
    CLOISTER_TRY(batch, leaves(frontier.size(), static_cast<std::uint32_t>(wanted)));
    if (batch.empty()) break;
    for (const auto& leaf : batch) (void)frontier.append(merkle::leaf_hash(leaf));
  }
  if (frontier.size() == expected.tree_size && frontier.root() == expected.root) return {};
  return Error{Errc::storage_corrupt, "the leaves of audit log " + id_ + " are not those under its newest head"};
}

}  // namespace cloister::audit
