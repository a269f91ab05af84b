#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/links/td_link.hpp"
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

  /// Serves one instance that is ready for `slots` jobs at a time, until its link ends, it breaks the protocol, or its
  /// session expires. Returns why. Attempts that it had are still leased then: `JobService::instance_gone` ends them.
  [[nodiscard]] runtime::Task<Error> serve(std::shared_ptr<links::TdLink> link, session::AttestedSession session,
                                           std::uint32_t slots);
  /// Tells the instance of an attempt that its lease is over, where it is connected.
  [[nodiscard]] runtime::Task<void> cancel(model::Attempt attempt);

 private:
  struct Serving;
  [[nodiscard]] runtime::Task<void> feed(std::shared_ptr<Serving> serving);
  [[nodiscard]] runtime::Task<Result<void>> handle(std::shared_ptr<Serving> serving, protocol::ToServer message);
  JobService& jobs_;
  runtime::BlockingPool& pool_;
  const Clock& clock_;
  log::Logger& logger_;
  std::map<InstanceId, std::weak_ptr<Serving>> serving_;
};

}  // namespace cloister::scheduler
