#include "cloister/scheduler/dispatcher.hpp"

#include <map>
#include <set>

#include "cloister/runtime/task_group.hpp"

namespace cloister::scheduler {
namespace {

/// How long to wait for a change before looking for work all the same, and before trying again what could not be done.
constexpr std::chrono::seconds kLook{30};
constexpr std::chrono::seconds kRetry{1};

/// The fault is ours and may pass: it says nothing about the peer or its attempt.
bool is_ours(const Error& error) { return http_status(error.code()) >= 500; }

}  // namespace

/// One instance while it is served; shared by its tasks and `cancel`.
struct Dispatcher::Serving {
  Serving(std::shared_ptr<links::TdLink> to, session::AttestedSession whose, std::uint32_t many,
          Notify who, Renew how, const runtime::Executor& executor, log::Logger& logger)
      : link{std::move(to)},
        session{std::move(whose)},
        slots{many},
        notify{std::move(who)},
        renew{std::move(how)},
        tasks{executor, logger, "dispatcher"} {}
  std::shared_ptr<links::TdLink> link;
  session::AttestedSession session;
  std::uint32_t slots;
  Notify notify;
  Renew renew;
  std::map<AttemptId, JobId> running;
  std::optional<Error> failed;  // why we end it
  bool heard = true;            // since it lost a lease
  runtime::TaskGroup tasks;

  void tell(const AttemptId& attempt, const JobId& job, bool leased) const {
    if (notify) notify({session.instance(), job, attempt, leased});
  }
};

Dispatcher::~Dispatcher() = default;

runtime::Task<Error> Dispatcher::serve(std::shared_ptr<links::TdLink> link, session::AttestedSession session,
                                       std::uint32_t slots, Notify notify, Renew renew) {
  const auto executor = co_await runtime::this_executor();
  const auto serving = std::make_shared<Serving>(std::move(link), std::move(session), slots, std::move(notify),
                                                 std::move(renew), executor, logger_);
  auto recalled = co_await recall(serving);
  if (!recalled) co_return std::move(recalled).error();
  auto work = take(serving);
  auto cleanup = leave(serving);
  co_return co_await runtime::finally(std::move(work), std::move(cleanup));
}

/// What the instance leased over a connection before, it goes on with.
runtime::Task<Result<void>> Dispatcher::recall(ServingPtr serving) {
  for (;;) {
    auto look = [this, &serving] { return jobs_.leases(serving->session.instance()); };
    auto leased = co_await pool_.run(std::move(look));
    if (leased) {
      for (const auto& attempt : *leased) serving->running.emplace(attempt.id, attempt.job);
      co_return Result<void>{};
    }
    if (!is_ours(leased.error())) co_return std::move(leased).error();
    logger_.warn("job.not_leased", {{"code", to_string(leased.error().code())}, {"detail", leased.error().detail()}});
    auto slept = co_await runtime::sleep_for(kRetry);
    if (!slept) co_return slept;
  }
}

runtime::Task<void> Dispatcher::leave(ServingPtr serving) {
  co_await serving->tasks.cancel_and_wait();
  // The instance may be served again already, over a newer connection.
  const auto found = serving_.find(serving->session.instance());
  if (found != serving_.end() && found->second == serving) serving_.erase(found);
}

runtime::Task<Error> Dispatcher::take(ServingPtr serving) {
  // Here, and not before `finally`: who was cancelled by then never gets as far as `leave`.
  serving_.insert_or_assign(serving->session.instance(), serving);
  serving->tasks.spawn("feed", feed(serving));
  for (;;) {
    auto message = co_await serving->link->receive();
    if (!message) co_return serving->failed.value_or(std::move(message).error());
    serving->heard = true;
    protocol::ToServer taken = *std::move(message);
    auto handled = co_await handle(serving, std::move(taken));
    if (!handled) co_return std::move(handled).error();
  }
}

runtime::Task<void> Dispatcher::feed(ServingPtr serving) {
  for (;;) {
    const auto seen = jobs_.changed().version();
    auto patience = kLook;
    while (serving->running.size() < serving->slots) {
      auto lease = [this, &serving] { return jobs_.lease(serving->session, clock_.now()); };
      auto job = co_await pool_.run(std::move(lease));
      if (!job && is_ours(job.error())) {
        logger_.warn("job.not_leased", {{"code", to_string(job.error().code())}, {"detail", job.error().detail()}});
        patience = kRetry;
        break;
      }
      if (!job) {
        auto ending = end(serving, std::move(job).error());
        co_await std::move(ending);
        co_return;
      }
      if (!*job) break;
      serving->running.emplace((*job)->attempt, (*job)->job);
      logger_.info("job.leased", {{"job", (*job)->job.str()},
                                  {"attempt", (*job)->attempt.str()},
                                  {"instance", serving->session.instance().str()},
                                  {"fence", static_cast<std::int64_t>((*job)->fence)}});
      serving->tell((*job)->attempt, (*job)->job, true);
      protocol::ToTd assign = std::move(**job);
      auto sent = co_await serving->link->send(std::move(assign));
      if (!sent) co_return;  // the receiver sees the same end
    }
    auto waited = co_await jobs_.changed().wait(seen, Deadline::after(clock_, patience));
    if (!waited && waited.error().code() == Errc::cancelled) co_return;
  }
}

runtime::Task<Result<void>> Dispatcher::handle(ServingPtr serving, protocol::ToServer message) {
  if (const auto* beat = std::get_if<protocol::Heartbeat>(&message)) {
    auto work = on_heartbeat(serving, *beat);
    co_return co_await std::move(work);
  }
  if (const auto* failed = std::get_if<protocol::AttemptFailed>(&message)) {
    auto work = on_failed(serving, *failed);
    co_return co_await std::move(work);
  }
  if (auto* result = std::get_if<protocol::SubmitResult>(&message)) {
    auto work = on_result(serving, std::move(*result));
    co_return co_await std::move(work);
  }
  if (auto* evidence = std::get_if<protocol::Attest>(&message)) {
    auto work = on_evidence(serving, std::move(*evidence));
    co_return co_await std::move(work);
  }
  if (const auto* gone = std::get_if<protocol::Failed>(&message)) {
    co_return Error{Errc::challenge_failed, gone->code + ": " + gone->detail};
  }
  const Error why{Errc::channel_message_invalid, "this message was not expected from a ready instance"};
  co_return co_await serving->link->refuse(why);
}

runtime::Task<Result<void>> Dispatcher::on_evidence(ServingPtr serving, protocol::Attest evidence) {
  if (!serving->renew) co_return Error{Errc::channel_message_invalid, "no evidence was asked for"};
  auto session = co_await serving->renew(std::move(evidence));
  if (!session) co_return std::move(session).error();
  serving->session = *std::move(session);
  co_return Result<void>{};
}

runtime::Task<Result<void>> Dispatcher::on_heartbeat(ServingPtr serving, protocol::Heartbeat beat) {
  auto work = [&] { return jobs_.heartbeat(serving->session, beat, clock_.now()); };
  auto done = co_await pool_.run(std::move(work));
  if (done) co_return Result<void>{};
  if (is_ours(done.error())) {
    // The attempt is healthy; should it last, the end of the lease decides.
    logger_.warn("job.beat_lost", {{"attempt", beat.attempt.str()},
                                   {"code", to_string(done.error().code())},
                                   {"detail", done.error().detail()}});
    co_return Result<void>{};
  }
  co_return co_await end_attempt(serving, beat.attempt);
}

runtime::Task<Result<void>> Dispatcher::on_failed(ServingPtr serving, protocol::AttemptFailed failed) {
  auto work = [&] { return jobs_.fail(serving->session, failed, clock_.now()); };
  auto done = co_await pool_.run(std::move(work));
  if (!done && is_ours(done.error())) co_return std::move(done).error();
  const auto job = free_slot(*serving, failed.attempt);
  logger_.warn("job.attempt_failed", {{"job", job.str()}, {"attempt", failed.attempt.str()}, {"code", failed.code}});
  co_return Result<void>{};
}

runtime::Task<Result<void>> Dispatcher::on_result(ServingPtr serving, protocol::SubmitResult result) {
  auto work = [&] { return jobs_.accept(serving->session, result, clock_.now()); };
  auto done = co_await pool_.run(std::move(work));
  // While storage cannot take it, the instance keeps it and brings it again on its next connection.
  if (!done && is_ours(done.error())) co_return std::move(done).error();
  const auto job = free_slot(*serving, result.attempt);
  if (!done) {
    const auto& why = done.error();
    logger_.warn("result.refused", {{"job", job.str()},
                                    {"attempt", result.attempt.str()},
                                    {"code", to_string(why.code())},
                                    {"detail", why.detail()}});
    protocol::ToTd refused = protocol::ResultRefused{result.attempt, std::string{to_string(why.code())}};
    co_return co_await serving->link->send(std::move(refused));
  }
  logger_.info("result.accepted", {{"job", job.str()},
                                   {"attempt", result.attempt.str()},
                                   {"instance", serving->session.instance().str()}});
  protocol::ToTd accepted = protocol::ResultAccepted{result.attempt};
  co_return co_await serving->link->send(std::move(accepted));
}

/// The job of the attempt; empty where the attempt did not run here.
JobId Dispatcher::free_slot(Serving& serving, const AttemptId& attempt) {
  const auto node = serving.running.extract(attempt);
  if (!node) return {};
  serving.tell(attempt, node.mapped(), false);
  jobs_.changed().notify_all();
  return node.mapped();
}

/// Tells the instance that an attempt is over. Its slot is free from here on, and the next job is sent behind this.
runtime::Task<Result<void>> Dispatcher::end_attempt(ServingPtr serving, AttemptId attempt) {
  free_slot(*serving, attempt);
  protocol::ToTd cancel = protocol::CancelJob{attempt};
  co_return co_await serving->link->send(std::move(cancel));
}

runtime::Task<void> Dispatcher::tell_cancelled(ServingPtr serving, AttemptId attempt) {
  static_cast<void>(co_await end_attempt(std::move(serving), std::move(attempt)));
}

void Dispatcher::cancel(const model::Attempt& attempt) {
  const auto found = serving_.find(attempt.instance);
  if (found == serving_.end() || !found->second->running.contains(attempt.id)) return;
  found->second->tasks.spawn("cancel", tell_cancelled(found->second, attempt.id));
}

runtime::Task<void> Dispatcher::end(ServingPtr serving, Error why) {
  serving->failed = std::move(why);
  co_await serving->link->close();
}

void Dispatcher::lost(std::span<const model::Attempt> attempts) {
  std::set<ServingPtr> silent;
  for (const auto& attempt : attempts) {
    const auto found = serving_.find(attempt.instance);
    if (found == serving_.end()) continue;
    silent.insert(found->second);
    if (found->second->heard) cancel(attempt);
  }
  for (const auto& serving : silent) {
    const Error why{Errc::deadline_exceeded, "nothing was heard from the instance since it lost a lease"};
    if (!serving->heard) serving->tasks.spawn("end", end(serving, why));
    serving->heard = false;
  }
}

}  // namespace cloister::scheduler
