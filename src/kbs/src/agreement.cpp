#include "cloister/kbs/agreement.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "cloister/crypto/hash.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/revocation/list.hpp"
#include "cloister/storage/broker_rules.hpp"
#include "cloister/storage/revocations.hpp"
#include "leaves.hpp"

namespace cloister::kbs {
namespace {

using Newest = std::map<std::string, audit::Log::Newest>;

constexpr std::string_view kWho = "accept-rollback";
constexpr std::string_view kAllValues = "*";  // subject of a leaf that is about reference values as a whole
constexpr std::size_t kShown = 10;

std::string text(const merkle::AuditLeaf& leaf, std::string_view name) {
  const auto* found = leaf.detail<std::string>(name);
  return found == nullptr ? std::string{} : *found;
}

/// Values are about the tenant: each of their leaves says what all of them are. Names of tenants have no space.
std::string about(const merkle::AuditLeaf& leaf) {
  if (leaf.kind.starts_with("revocation.")) return "revocation " + leaf.subject;
  if (leaf.kind.starts_with("policy.")) return "policy " + text(leaf, "tenant") + ' ' + leaf.subject;
  return "values " + text(leaf, "tenant");
}

class Comparison {
 public:
  Comparison(Newest newest, UnixTime now) : newest_{std::move(newest)}, now_{now} {}

  void add(const storage::revocations::Scoped& row) {
    const auto& record = row.record;
    merkle::AuditLeaf leaf = leaf_of(revocation::kAdded, record.id, now_);
    leaf.details = {{"by", std::string{kWho}}, {"kind", record.kind}, {"value", record.value}, {"reason", record.reason}};
    if (!row.tenant.empty()) leaf.details.emplace_back("tenant", row.tenant);
    if (record.expires) leaf.details.emplace_back("expires", static_cast<std::uint64_t>(to_micros(*record.expires)));
    compare("revocation " + record.id, "revocation " + record.id + ", of a " + record.kind, std::move(leaf), {"kind", "value", "tenant", "expires"});
  }

  void add(const storage::broker_rules::OfTenant& row) {
    const auto subject = row.policy.kind + '/' + row.policy.name;
    merkle::AuditLeaf leaf = leaf_of(kPolicyChanged, subject, now_);
    leaf.details = {{"by", std::string{kWho}},
                    {"tenant", row.tenant},
                    {"policy", digest_bytes(crypto::sha256(as_bytes(row.policy.text)))},
                    {"scope", row.policy.scope}};
    compare("policy " + row.tenant + ' ' + subject, "policy " + subject + " of the tenant " + row.tenant, std::move(leaf), {"policy", "scope"});
  }

  void add_values(const std::string& tenant, std::string_view values) {
    merkle::AuditLeaf leaf = leaf_of(kReferenceChanged, kAllValues, now_);
    leaf.details = {{"by", std::string{kWho}}, {"tenant", tenant}, {"values", digest_bytes(crypto::sha256(as_bytes(values)))}};
    compare("values " + tenant, "reference values of the tenant " + tenant, std::move(leaf), {"values"});
  }

  /// What the log says that there is, and nothing was added for.
  std::vector<Disagreement> finish() && {
    for (const auto& [name, newest] : newest_) {
      const auto& said = newest.leaf;
      if (said.kind == revocation::kAdded) {
        const auto* expires = said.detail<std::uint64_t>("expires");
        const bool over = expires != nullptr && from_micros(static_cast<std::int64_t>(*expires)) <= now_;
        if (!over) gone(newest, revocation::kLifted, said.subject, "revocation " + said.subject);
      } else if (said.kind == kPolicyChanged) {
        gone(newest, kPolicyRemoved, said.subject, "policy " + said.subject + " of the tenant " + text(said, "tenant"));
      } else if (said.kind == kReferenceChanged || (said.kind == kReferenceRemoved && said.subject != kAllValues)) {
        gone(newest, kReferenceRemoved, kAllValues, "reference values of the tenant " + text(said, "tenant"));
      }
    }
    return std::move(out_);
  }

 private:
  /// A row, as the leaf that would tell of it, with the newest leaf about the same.
  void compare(const std::string& name, const std::string& what, merkle::AuditLeaf leaf, std::initializer_list<std::string_view> details) {
    const auto found = newest_.find(name);
    if (found == newest_.end()) {
      out_.push_back({what + ": it is in the database, and nothing in the audit log says so", std::move(leaf)});
      return;
    }
    const auto& said = found->second.leaf;
    const auto same = [&](std::string_view detail) { return value(said, detail) == value(leaf, detail); };
    const bool removed = said.kind == revocation::kLifted || said.kind == kPolicyRemoved;
    // Leaves of before said nothing of the other values.
    const bool silent = leaf.kind == kReferenceChanged && said.subject != kAllValues && !value(said, "values");
    if (removed || (!silent && !std::ranges::all_of(details, same))) {
      const auto place = "leaf " + std::to_string(found->second.index) + " of the audit log";
      out_.push_back({what + (removed ? ": it is in the database, and " + place + " says that it was removed" : ": it is not what " + place + " says"),
                      std::move(leaf)});
    }
    newest_.erase(found);
  }

  static std::optional<merkle::DetailValue> value(const merkle::AuditLeaf& leaf, std::string_view name) {
    const auto found = std::ranges::find(leaf.details, name, [](const auto& one) { return std::string_view{one.first}; });
    return found == leaf.details.end() ? std::nullopt : std::optional{found->second};
  }

  void gone(const audit::Log::Newest& newest, std::string_view kind, std::string_view subject, const std::string& what) {
    auto leaf = leaf_of(kind, subject, now_);
    leaf.details = {{"by", std::string{kWho}}};
    if (const auto tenant = text(newest.leaf, "tenant"); !tenant.empty()) leaf.details.emplace_back("tenant", tenant);
    out_.push_back({what + ": leaf " + std::to_string(newest.index) + " of the audit log says that it holds, and it is not in the database", std::move(leaf)});
  }

  Newest newest_;
  UnixTime now_;
  std::vector<Disagreement> out_;
};

}  // namespace

Result<std::vector<Disagreement>> disagreements(const storage::Reading& reading, const audit::Log& log, UnixTime now) {
  CLOISTER_TRY(newest, log.newest_changes(reading, about));
  Comparison comparison{std::move(newest), now};
  CLOISTER_TRY(revoked, storage::revocations::all(reading));
  for (const auto& row : revoked) comparison.add(row);
  CLOISTER_TRY(policies, storage::broker_rules::policies(reading));
  for (const auto& row : policies) comparison.add(row);
  CLOISTER_TRY(values, storage::broker_rules::reference_values(reading));
  for (const auto& [tenant, all] : values) comparison.add_values(tenant, all);
  return std::move(comparison).finish();
}

Result<void> check_agreement(storage::Database& database, audit::Log& log, bool accept, UnixTime now) {
  const auto find = [&]() -> Result<std::vector<Disagreement>> {
    CLOISTER_TRY(snapshot, database.read());
    return disagreements(snapshot, log, now);
  };
  CLOISTER_TRY(found, find());
  if (found.empty()) return {};
  if (!accept) {
    std::string lines;
    for (std::size_t i = 0; i < std::min(found.size(), kShown); ++i) lines += (i == 0 ? "" : "\n") + found[i].what;
    if (found.size() > kShown) lines += "\nand " + std::to_string(found.size() - kShown) + " more";
    return Error{Errc::database_behind_head, std::move(lines)};
  }
  const auto record = [&]() -> Result<void> {
    CLOISTER_TRY(transaction, database.write());
    for (const auto& one : found) {
      CLOISTER_CHECK(log.append(transaction, one.leaf));
    }
    return transaction.commit();
  };
  CLOISTER_CHECK(record());
  return log.cover(now);
}

}  // namespace cloister::kbs
