#include "cloister/audit/refusals.hpp"

#include <chrono>
#include <string>

namespace cloister::audit {
namespace {

UnixTime minute_of(UnixTime time) { return std::chrono::floor<std::chrono::minutes>(time); }

}  // namespace

void Refusals::note(Errc code, UnixTime now) {
  const std::lock_guard held{mutex_};
  ++counts_[{minute_of(now), code}];
}

Result<void> Refusals::flush(storage::Database& database, Log& log, UnixTime now) {
  const std::lock_guard held{mutex_};
  const auto current = counts_.lower_bound({minute_of(now), Errc{}});
  if (counts_.begin() == current) return {};
  CLOISTER_TRY(transaction, database.write());
  for (auto entry = counts_.begin(); entry != current; ++entry) {
    const auto& [minute, code] = entry->first;
    const merkle::AuditLeaf leaf{minute, "refused", std::string{to_string(code)}, {{"count", entry->second}}};
    CLOISTER_CHECK(log.append(transaction, leaf));
  }
  CLOISTER_CHECK(transaction.commit());
  counts_.erase(counts_.begin(), current);
  return {};
}

}  // namespace cloister::audit
