#pragma once

#include <string>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/storage/database.hpp"

/// Whether what guests are judged by is what the audit log says: revocations, policies and reference values, of all tenants.
namespace cloister::kbs {

/// Something that the database and the log do not agree about.
struct Disagreement {
  std::string what;
  merkle::AuditLeaf leaf;  // by which the log would say what the database has
};
/// None, where they agree. Reads what there is now and the leaves that changed it, and no others; `storage_corrupt` where one of
/// these is not the one under the log's head.
[[nodiscard]] Result<std::vector<Disagreement>> disagreements(const storage::Reading& reading, const audit::Log& log, UnixTime now);

/// `database_behind_head`, a line for each disagreement (the first ten): rows were edited, or restored without the rest. Where that is
/// to be accepted, the log says what the database has, by "accept-rollback", under a signed head, when this returns.
[[nodiscard]] Result<void> check_agreement(storage::Database& database, audit::Log& log, bool accept, UnixTime now);

}  // namespace cloister::kbs
