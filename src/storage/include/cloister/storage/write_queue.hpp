#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "cloister/core/result.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::storage {

/// Small writes of many who do not want to hold a thread each while they wait for the disk: one thread runs them, as many to
/// a commit as came meanwhile. Thread-safe.
class WriteQueue {
 public:
  /// What is to be written. Runs once, on the queue's thread, as a part of a transaction: kept with success, undone without.
  /// It neither commits nor waits.
  using Work = std::function<Result<void>(Transaction&)>;
  /// Hears once what became of it, on the queue's thread or on the caller's: success is on disk. It does not wait, nor throw.
  using Done = std::function<void(Result<void>)>;

  /// At most `limit` writes wait. `database` outlives this.
  WriteQueue(Database& database, std::size_t limit);
  /// As `stop`.
  ~WriteQueue();
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  /// In the order of the calls. `done` hears `overloaded` when too many wait, `cancelled` after `stop`; the error of `work`;
  /// the errors of `Database::write` and `Transaction::commit`, after which nothing of it is kept.
  void submit(Work work, Done done);

  /// Lets begun writes end; those that wait hear `cancelled`. Not from `work` or `done`.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cloister::storage
