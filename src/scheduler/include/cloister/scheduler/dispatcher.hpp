#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/links/td_link.hpp"
#include "cloister/protocol/host.hpp"
#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/runtime/task.hpp"
#include "cloister/scheduler/job_service.hpp"
#include "cloister/session/attested.hpp"

namespace cloister::scheduler {

/// Keeps ready instances busy: leases jobs to them, and takes their heartbeats and results. Runs on the executor of the
/// links. What it is made from outlives it.
class Dispatcher {
 public:
  Dispatcher(JobService& jobs, runtime::BlockingPool& pool, const Clock& clock, log::Logger& logger)
      : jobs_{jobs}, pool_{pool}, clock_{clock}, logger_{logger} {}
  ~Dispatcher();

  /// Called as attempts begin and end at an instance, on the executor of its link; must not block.
  using Notify = std::function<void(const protocol::host::Attempt&)>;
  /// Takes the evidence that the instance answers another challenge with, and returns the session that follows. Without
  /// it, evidence is not expected.
  using Renew = std::function<runtime::Task<Result<session::AttestedSession>>(protocol::Attest)>;
  /// Serves one instance that is ready for `slots` jobs at a time, until its link ends, it breaks the protocol, falls
  /// silent, its session is over, or what it brings cannot be stored. Returns why. Attempts that it had are still leased then:
  /// `JobService::end_instance` ends them.
  [[nodiscard]] runtime::Task<Error> serve(std::shared_ptr<links::TdLink> link, session::AttestedSession session,
                                           std::uint32_t slots, Notify notify = {}, Renew renew = {});
  /// The lease of an attempt is over: its instance, where it is connected, is told soon, and gets another job. Does not
  /// wait for the instance.
  void cancel(const model::Attempt& attempt);
  /// Leases ended without a word of their instances: these attempts are cancelled, too. An instance that loses one a
  /// second time with nothing heard in between is not served any longer.
  void lost(std::span<const model::Attempt> attempts);
  /// How many instances are served.
  [[nodiscard]] std::size_t serving() const noexcept { return serving_.size(); }

 private:
  struct Serving;
  using ServingPtr = std::shared_ptr<Serving>;
  [[nodiscard]] runtime::Task<Result<void>> recall(ServingPtr serving);
  [[nodiscard]] runtime::Task<void> feed(ServingPtr serving);
  [[nodiscard]] runtime::Task<Error> take(ServingPtr serving);
  [[nodiscard]] runtime::Task<void> leave(ServingPtr serving);
  [[nodiscard]] runtime::Task<Result<void>> handle(ServingPtr serving, protocol::ToServer message);
  [[nodiscard]] runtime::Task<Result<void>> on_evidence(ServingPtr serving, protocol::Attest evidence);
  [[nodiscard]] runtime::Task<Result<void>> on_heartbeat(ServingPtr serving, protocol::Heartbeat beat);
  [[nodiscard]] runtime::Task<Result<void>> on_failed(ServingPtr serving, protocol::AttemptFailed failed);
  [[nodiscard]] runtime::Task<Result<void>> on_result(ServingPtr serving, protocol::SubmitResult result);
  [[nodiscard]] runtime::Task<Result<void>> end_attempt(ServingPtr serving, AttemptId attempt);
  [[nodiscard]] runtime::Task<void> end(ServingPtr serving, Error why);
  [[nodiscard]] runtime::Task<void> tell_cancelled(ServingPtr serving, AttemptId attempt);
  JobId free_slot(Serving& serving, const AttemptId& attempt);
  JobService& jobs_;
  runtime::BlockingPool& pool_;
  const Clock& clock_;
  log::Logger& logger_;
  std::map<InstanceId, ServingPtr> serving_;
};

}  // namespace cloister::scheduler
