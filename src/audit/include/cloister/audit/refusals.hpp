#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "cloister/audit/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister::audit {

/// Counts the refusals of strangers, so that nobody can fill the log: one leaf ("refused", subject the code, detail
/// "count") per code and minute. Thread-safe.
class Refusals {
 public:
  void note(Errc code, UnixTime now);
  /// Writes the leaves of minutes that are over at `now`. What does not commit is kept for the next time.
  [[nodiscard]] Result<void> flush(storage::Database& database, Log& log, UnixTime now);

 private:
  std::mutex mutex_;
  std::map<std::pair<UnixTime, Errc>, std::uint64_t> counts_;  // by begin of minute
};

}  // namespace cloister::audit
