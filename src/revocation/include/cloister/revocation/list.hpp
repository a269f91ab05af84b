#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cloister/audit/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/merkle/log.hpp"
#include "cloister/revocation/subjects.hpp"
#include "cloister/storage/database.hpp"
#include "cloister/storage/revocations.hpp"

namespace cloister::revocation {

/// Leaf kinds of this module; subject: the entry's id.
inline constexpr std::string_view kAdded = "revocation.added";
inline constexpr std::string_view kLifted = "revocation.lifted";

/// Entries of one scope.
inline constexpr std::size_t kMaxEntries = 10'000;
inline constexpr std::size_t kMaxReason = 256;  // bytes
/// What is revoked for a time is so for longer than tokens and sessions live, which is minutes: no entry ends before what
/// it is about.
inline constexpr std::chrono::hours kMinLifetime{1};
inline constexpr std::chrono::hours kMaxLifetime{24 * 3660};
/// Of entries about sessions and tokens, where no other is given. Those about measurements and chips stay until they are lifted.
inline constexpr std::chrono::hours kShortLifetime{24};

/// What somebody wants to revoke.
struct Request {
  Kind kind = Kind::token;
  std::string value;
  std::string reason;
  std::optional<std::chrono::seconds> lifetime;
};

/// What is revoked of one tenant's guests, or of all: in the database for restarts, in memory for every release. Thread-safe;
/// what it is made from outlives it.
class List {
 public:
  struct Services {
    storage::Database& database;
    audit::Log& log;
    Random& random;
  };
  using Scope = storage::revocations::Scope;
  using Record = storage::revocations::Record;
  List(const Services& services, Scope scope) : services_{services}, scope_{std::move(scope)} {}

  /// Reads what was revoked before; of the storage.
  [[nodiscard]] Result<void> load();

  /// Holds, is stored, and is in the audit log under a signed head, when this returns. `invalid_argument`; `conflict` for what
  /// is revoked already; `limit_exceeded` beyond `kMaxEntries`; where it holds and no head could be signed, that of
  /// `audit::Log::cover`. `who` is the operator's name.
  [[nodiscard]] Result<Record> add(const Request& request, std::string_view who, UnixTime now);
  /// `not_found`. In the audit log, under a signed head, when this returns; also that error.
  [[nodiscard]] Result<void> lift(std::string_view id, std::string_view who, UnixTime now);
  /// Those that hold, newest first.
  [[nodiscard]] Result<std::vector<Record>> entries(UnixTime now) const;

  /// `attestation_revoked`, which does not say by what. Whoever holds the database's `Transaction` while this succeeds comes
  /// before every entry that is not in it, in the audit log too.
  [[nodiscard]] Result<void> check(const Subjects& guest, UnixTime now) const;

 private:
  using Values = std::unordered_map<std::string, std::optional<UnixTime>>;  // to when it expires
  using Held = std::array<Values, std::size(kKinds)>;
  using HeldPtr = std::shared_ptr<const Held>;  // shared: a change takes it from nobody
  [[nodiscard]] Result<HeldPtr> read(const storage::Reading& reading, UnixTime now) const;
  [[nodiscard]] HeldPtr current() const;
  [[nodiscard]] Result<void> put(const Record& record, const merkle::AuditLeaf& leaf, UnixTime now);
  [[nodiscard]] Result<void> take(std::string_view id, std::string_view who, UnixTime now);
  HeldPtr exchange(HeldPtr held);
  Services services_;
  Scope scope_;
  std::mutex changing_;       // one change at a time
  mutable std::mutex mutex_;  // guards the one below
  HeldPtr held_ = std::make_shared<const Held>();
};

}  // namespace cloister::revocation
