#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "cloister/core/result.hpp"
#include "cloister/storage/write_queue.hpp"

namespace cloister::kbs {

/// Something to tell, once what goes with it is on disk: its leaf in the audit log, the session's one attempt. There is no
/// other way to it than to record it.
template <class T>
class Unrecorded {
 public:
  /// Writes, and says what is to be told then: a value, or a refusal that is recorded too. With an error nothing is kept.
  using Write = std::function<Result<Result<T>>(storage::Transaction&)>;
  explicit Unrecorded(Write write) : write_{std::move(write)} {}

  /// `done` hears it as `WriteQueue::submit` has it; the errors of that.
  template <class Done>
  void record(storage::WriteQueue& queue, Done done) && {
    const auto told = std::make_shared<std::optional<Result<T>>>();
    auto work = [told, write = std::move(write_)](storage::Transaction& transaction) -> Result<void> {
      CLOISTER_TRY(said, write(transaction));
      told->emplace(std::move(said));
      return {};
    };
    queue.submit(std::move(work), [told, done = std::move(done)](Result<void> kept) mutable {
      if (!kept) return done(Result<T>{std::move(kept).error()});
      done(std::move(**told));
    });
  }

 private:
  Write write_;
};

}  // namespace cloister::kbs
