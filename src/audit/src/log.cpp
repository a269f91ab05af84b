#include "cloister/audit/log.hpp"

#include <algorithm>

#include "cloister/core/ids.hpp"
#include "cloister/merkle/kinds.hpp"
#include "cloister/storage/audit_rows.hpp"
#include "cloister/storage/files.hpp"

namespace cloister::audit {
namespace {

namespace rows = storage::audit_rows;

constexpr std::size_t kMaxHeadFile = 4096;
constexpr std::uint32_t kBatch = 512;
constexpr std::uint32_t kMaxLeaves = 1000;
constexpr std::uint32_t kExportBatch = 32;
constexpr std::size_t kExportBytes = 512U << 10;  // of leaves in a page, once there is one

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

Error changed_leaf(std::string_view log, std::uint64_t index) {
  return Error{Errc::storage_corrupt, "leaf " + std::to_string(index) + " of audit log " + std::string{log} + " is not the one under its head"};
}

/// That the head of that size and root is over that leaf, where it reaches so far.
Result<void> check_under(const storage::Reading& reading, std::string_view log, std::uint64_t size, const merkle::Hash& root,
                         std::uint64_t index, ByteView leaf) {
  if (index >= size) return {};
  CLOISTER_TRY(proof, merkle::prove_inclusion(StoredNodes{reading, log}, index, size));
  if (!merkle::verify_inclusion(proof, merkle::leaf_hash(leaf), root)) return changed_leaf(log, index);
  return {};
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

/// A log in the database, without leaves; its head.
Result<merkle::SignedHead> begin_log(storage::Transaction& transaction, const kms::Kms& kms, const std::string& id, UnixTime now) {
  CLOISTER_TRY(head, sign_head(kms, {id, 0, merkle::empty_root(), now}));
  CLOISTER_CHECK(rows::begin_log(transaction, id, now));
  CLOISTER_CHECK(rows::add_head(transaction, id, 0, merkle::encode(head)));
  return head;
}

/// The same with its first leaf, if it has one, or nothing of it.
Result<merkle::SignedHead> begin_log(storage::Database& database, const kms::Kms& kms, const std::string& id,
                                     const std::optional<merkle::AuditLeaf>& first, UnixTime now) {
  CLOISTER_TRY(transaction, database.write());
  CLOISTER_TRY(head, begin_log(transaction, kms, id, now));
  if (first) {
    CLOISTER_TRY(encoded, merkle::encode(*first));
    CLOISTER_CHECK(rows::append(transaction, id, first->kind, first->subject, encoded));
  }
  CLOISTER_CHECK(transaction.commit());
  return head;
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
  const auto id = random_id("log", random);
  std::optional<merkle::AuditLeaf> why;
  if (rolled_back) {
    why = merkle::AuditLeaf{now, std::string{merkle::kRollbackKind}, id, {}};
    describe(*why, "database", found.database);
    describe(*why, "file", found.outside);
  }
  CLOISTER_TRY(begun, begin_log(database, kms, id, why, now));
  CLOISTER_CHECK(log->resume(std::move(begun)));
  if (why) CLOISTER_CHECK(log->advance(now));
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
  merkle::AuditLeaf last{now, std::string{merkle::kHandedOnKind}, heir->id_, std::move(details)};
  last.details.emplace_back("key", to_bytes(ByteView{new_key}));
  CLOISTER_CHECK(log->append(transaction, last));
  CLOISTER_TRY(end, log->grow_in(transaction, now));
  CLOISTER_CHECK(begin_log(transaction, to, heir->id_, now));
  merkle::AuditLeaf first{now, std::string{merkle::kTakenOverKind}, log->id_, {}};
  describe(first, "before", end.head);
  first.details.emplace_back("before_key", to_bytes(ByteView{old_key}));
  CLOISTER_CHECK(heir->append(transaction, first));
  CLOISTER_TRY(beginning, heir->grow_in(transaction, now));
  CLOISTER_CHECK(transaction.commit());
  heir->newest_ = std::move(beginning.head);
  CLOISTER_CHECK(heir->publish());
  return true;
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

Result<void> Log::append(storage::Transaction& transaction, const merkle::AuditLeaf& leaf) {
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

Result<void> Log::cover(UnixTime now) {
  const auto head = advance(now);
  if (!head) return head.error().in("what was asked for is done and in the audit log, but no signed head covers it yet");
  return {};
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

/// Oldest first, this one last. A log says in its first leaf which one it goes on from, and what that was.
Result<std::vector<Log::Link>> Log::chain(const storage::Reading& reading) const {
  CLOISTER_TRY(logs, rows::logs(reading));
  const auto newest = head().head;
  std::vector<Link> out{{newest.log_id, newest.tree_size, newest.root}};
  while (out.size() < logs.size()) {
    const auto& link = out.back();
    CLOISTER_TRY(first, rows::leaves(reading, link.id, 0, 1));
    if (first.empty()) break;
    CLOISTER_CHECK(check_under(reading, link.id, link.size, link.root, 0, first.front()));
    CLOISTER_TRY(leaf, merkle::decode_audit_leaf(first.front()));
    if (leaf.kind != merkle::kRollbackKind && leaf.kind != merkle::kTakenOverKind) break;
    const std::string who{leaf.kind == merkle::kRollbackKind ? "database" : "before"};
    const auto* log = leaf.detail<std::string>(who + "_log");
    const auto* size = leaf.detail<std::uint64_t>(who + "_size");
    const auto* root = leaf.detail<Bytes>(who + "_root");
    if (log == nullptr || size == nullptr || root == nullptr || root->size() != merkle::Hash{}.size()) break;
    out.push_back({*log, *size, to_array<sizeof(merkle::Hash)>(*root)});
  }
  std::ranges::reverse(out);
  return out;
}

Result<std::map<std::string, Log::Newest>> Log::newest_changes(const storage::Reading& reading, const About& about) const {
  CLOISTER_TRY(links, chain(reading));
  struct Place {
    const Link* link;
    Newest newest;
  };
  std::map<std::string, Place> places;
  for (const auto& link : links) {
    for (std::uint64_t from = 0;;) {
      CLOISTER_TRY(batch, rows::rule_leaves(reading, link.id, from, kMaxLeaves));
      for (const auto& row : batch) {
        auto leaf = merkle::decode_audit_leaf(row.leaf);
        if (!leaf) return changed_leaf(link.id, row.index);
        auto name = about(*leaf);
        places.insert_or_assign(std::move(name), Place{&link, {row.index, *std::move(leaf)}});
      }
      if (batch.size() < kMaxLeaves) break;
      from = batch.back().index + 1;
    }
  }
  std::map<std::string, Newest> out;
  for (auto& [name, place] : places) {
    CLOISTER_TRY(encoded, merkle::encode(place.newest.leaf));  // which is what was decoded: there is one encoding
    CLOISTER_CHECK(check_under(reading, place.link->id, place.link->size, place.link->root, place.newest.index, encoded));
    out.emplace(name, std::move(place.newest));
  }
  return out;
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

Result<std::vector<Log::Info>> Log::logs() const {
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(all, rows::logs(snapshot));
  std::vector<Info> out;
  for (auto& row : all) {
    CLOISTER_TRY(count, rows::count(snapshot, row.id));
    CLOISTER_TRY(size, covered_size(snapshot, row.id));
    out.push_back({std::move(row.id), row.started, count, size});
  }
  return out;
}

/// Of this log, what its head file has too.
Result<std::uint64_t> Log::covered_size(const storage::Reading& reading, const std::string& log) const {
  if (log == id_) return head().head.tree_size;
  CLOISTER_TRY(bytes, rows::last_head(reading, log));
  if (!bytes) return Error{Errc::not_found, "no audit log is called " + log};
  CLOISTER_TRY(last, read_head(*bytes, key_));
  return last.head.tree_size;
}

Result<Log::ExportPage> Log::export_page(const ExportQuery& query) const {
  const auto& log = query.log.empty() ? id_ : query.log;
  CLOISTER_TRY(snapshot, database_.read());
  CLOISTER_TRY(covered, covered_size(snapshot, log));
  const auto to = query.to.value_or(covered);
  const auto no_head = Error{Errc::not_found, "to: no head covers exactly " + std::to_string(to) + " leaves"};
  if (to > covered) return no_head;
  CLOISTER_TRY(end, rows::head_of(snapshot, log, to));
  if (!end) return no_head;
  if (query.from > to) {
    return Error{Errc::invalid_argument,
                 "from: " + std::to_string(to) + " at most expected, which is how many leaves there are"};
  }
  CLOISTER_TRY(frontier, merkle::Frontier::load(StoredNodes{snapshot, log}, query.from));
  ExportPage page{{log, key_, query.from, frontier.peaks()}, {}, to, query.from};
  if (query.from == to) {
    CLOISTER_TRY(head, read_head(*end, key_));
    page.entries.emplace_back(std::move(head));
    return page;
  }
  std::vector<Bytes> leaves;
  for (std::size_t bytes = 0; page.next < to && bytes < kExportBytes && leaves.size() < kMaxLeaves;) {
    const auto wanted = std::min<std::uint64_t>(kExportBatch, to - page.next);
    CLOISTER_TRY(batch, rows::leaves(snapshot, log, page.next, static_cast<std::uint32_t>(wanted)));
    if (batch.empty()) return Error{Errc::storage_corrupt, "audit log " + log + " has no leaf " + std::to_string(page.next)};
    page.next += batch.size();
    for (auto& leaf : batch) {
      bytes += leaf.size();
      leaves.push_back(std::move(leaf));
    }
  }
  CLOISTER_TRY(heads, rows::heads(snapshot, log, query.from, page.next));
  auto index = query.from;
  const auto add_up_to = [&](std::uint64_t size) {
    for (; index < size; ++index) {
      page.entries.emplace_back(merkle::ExportedLeaf{index, std::move(leaves[static_cast<std::size_t>(index - query.from)])});
    }
  };
  for (const auto& bytes : heads) {
    CLOISTER_TRY(head, read_head(bytes, key_));
    add_up_to(head.head.tree_size);
    page.entries.emplace_back(std::move(head));
  }
  add_up_to(page.next);
  return page;
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
