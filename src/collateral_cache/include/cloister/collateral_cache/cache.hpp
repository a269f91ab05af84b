#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloister/collateral/freshness.hpp"
#include "cloister/collateral/service.hpp"
#include "cloister/collateral/store.hpp"
#include "cloister/collateral_cache/transport.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/time.hpp"

namespace cloister::collateral_cache {

struct CacheOptions {
  std::vector<collateral::Endpoint> endpoints;  // of each kind in the order in which they are asked
  collateral::Freshness freshness;
  std::size_t memory_entries = 1024;  // beyond it, memory forgets what was fetched longest ago; the folder has it still
};

/// What the caller needs of a document.
enum class Need {
  valid,    // one whose time is not over: a fetch only when there is none
  current,  // also one that is not due: what is due is asked for again, and the old one given when that fails
};

/// A document, and what the caller should know of it.
struct Held {
  std::shared_ptr<const collateral::Entry> entry;  // shared with the cache; immutable
  bool fetched = false;        // by this call, or one that it waited for: also where the service said "not modified"
  bool stale = false;          // its time is over: given because of the grace
  std::optional<Error> error;  // why a newer one could not be had, where the old one is given
};

/// Collateral of vendors' services, each document fetched once for all. Thread-safe; calls block.
class Cache {
 public:
  /// The references outlive the cache. Without a transport, or without endpoints, only what the store has is given.
  Cache(collateral::Store& store, Transport* transport, const Clock& clock, log::Logger& logger, CacheOptions options);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  /// Concurrent calls for one key make one fetch. Errors: `collateral_missing` when no endpoint has the document, or there
  /// is no endpoint for it; `rate_limited` and `unavailable` with the time before which no endpoint is asked; what
  /// `interpret` and the transport refuse, with every endpoint's reason; `io_error` when it cannot be kept.
  [[nodiscard]] Result<Held> get(const collateral::Key& key, Need need);

  /// The time before which `get` would ask nobody for this key; nothing when somebody may be asked now.
  [[nodiscard]] std::optional<UnixTime> asks_again_at(const collateral::Key& key) const;

  /// Asks again for every document in the store that is due or over. Returns how many could not be refreshed.
  [[nodiscard]] Result<std::size_t> refresh();

  /// Takes over documents that came another way, where they are not older than what is here: `collateral_outdated`.
  [[nodiscard]] Result<void> put(collateral::Document document, std::string source);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::collateral_cache
