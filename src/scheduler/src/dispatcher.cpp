#include "cloister/scheduler/dispatcher.hpp"

#include <set>

#include "cloister/runtime/task_group.hpp"

namespace cloister::scheduler {

/// One instance while it is served; shared by its feeder, its receiver and `cancel`.
struct Dispatcher::Serving {
  std::shared_ptr<links::TdLink> link;
  session::AttestedSession session;
  std::uint32_t slots;
  std::set<AttemptId> running;
  std::optional<Error> failed;  // of the feeder; ends the serving
};

Dispatcher::~Dispatcher() = default;

runtime::Task<Error> Dispatcher::serve(std::shared_ptr<links::TdLink> link, session::AttestedSession session,
                                       std::uint32_t slots) {
  auto serving = std::make_shared<Serving>(Serving{link, session, slots, {}, std::nullopt});
  serving_.insert_or_assign(session.instance(), serving);
  auto executor = co_await runtime::this_executor();
  runtime::TaskGroup feeder{executor, logger_, "dispatcher"};
  feeder.spawn("feed", feed(serving));
  Error why{Errc::internal};
  for (;;) {
    auto message = co_await link->receive();
    if (!message) {
      why = serving->failed.value_or(std::move(message).error());
      break;
    }
    protocol::ToServer taken = *std::move(message);
    auto handled = co_await handle(serving, std::move(taken));
    if (!handled) {
      why = std::move(handled).error();
      break;
    }
  }
  co_await feeder.cancel_and_wait();
  serving_.erase(session.instance());
  co_return why;
}

runtime::Task<void> Dispatcher::feed(std::shared_ptr<Serving> serving) {
  for (;;) {
    const auto seen = jobs_.changed().version();
    while (serving->running.size() < serving->slots) {
      auto lease = [this, &serving] { return jobs_.lease(serving->session, clock_.now()); };
      auto job = co_await pool_.run(std::move(lease));
      if (!job) {
        serving->failed = std::move(job).error();
        co_await serving->link->close();
        co_return;
      }
      if (!*job) break;
      serving->running.insert((*job)->attempt);
      logger_.info("job.leased", {{"job", (*job)->job.str()},
                                  {"attempt", (*job)->attempt.str()},
                                  {"instance", serving->session.instance().str()},
                                  {"fence", static_cast<std::int64_t>((*job)->fence)}});
      protocol::ToTd assign = std::move(**job);
      auto sent = co_await serving->link->send(std::move(assign));
      if (!sent) co_return;  // the receiver sees the same end
    }
    auto waited = co_await jobs_.changed().wait(seen, Deadline::after(clock_, std::chrono::seconds{30}));
    if (!waited && waited.error().code() == Errc::cancelled) co_return;
  }
}

runtime::Task<Result<void>> Dispatcher::handle(std::shared_ptr<Serving> serving, protocol::ToServer message) {
  const auto& session = serving->session;
  if (const auto* beat = std::get_if<protocol::Heartbeat>(&message)) {
    auto work = [&] { return jobs_.heartbeat(session, *beat, clock_.now()); };
    auto done = co_await pool_.run(std::move(work));
    if (!done) {
      serving->running.erase(beat->attempt);
      protocol::ToTd cancel = protocol::CancelJob{beat->attempt};
      co_return co_await serving->link->send(std::move(cancel));
    }
    co_return Result<void>{};
  }
  if (const auto* failed = std::get_if<protocol::AttemptFailed>(&message)) {
    auto work = [&] { return jobs_.fail(session, *failed, clock_.now()); };
    auto done = co_await pool_.run(std::move(work));
    serving->running.erase(failed->attempt);
    logger_.warn("job.attempt_failed", {{"attempt", failed->attempt.str()}, {"code", failed->code}});
    jobs_.changed().notify_all();  // a slot is free
    if (!done && done.error().code() == Errc::storage_failure) co_return std::move(done).error();
    co_return Result<void>{};
  }
  if (const auto* result = std::get_if<protocol::SubmitResult>(&message)) {
    auto work = [&] { return jobs_.accept(session, *result, clock_.now()); };
    auto done = co_await pool_.run(std::move(work));
    // While storage cannot take it, the instance keeps it and brings it again on its next connection.
    if (!done && http_status(done.error().code()) >= 500) co_return std::move(done).error();
    serving->running.erase(result->attempt);
    jobs_.changed().notify_all();
    if (!done) {
      logger_.warn("result.refused", {{"attempt", result->attempt.str()},
                                      {"code", to_string(done.error().code())},
                                      {"detail", done.error().detail()}});
      protocol::ToTd refused = protocol::ResultRefused{result->attempt, std::string{to_string(done.error().code())}};
      co_return co_await serving->link->send(std::move(refused));
    }
    logger_.info("result.accepted", {{"attempt", result->attempt.str()}, {"instance", session.instance().str()}});
    protocol::ToTd accepted = protocol::ResultAccepted{result->attempt};
    co_return co_await serving->link->send(std::move(accepted));
  }
  if (const auto* gone = std::get_if<protocol::Failed>(&message)) {
    co_return Error{Errc::challenge_failed, gone->code + ": " + gone->detail};
  }
  co_return Error{Errc::channel_message_invalid, "this message was not expected from a ready instance"};
}

runtime::Task<void> Dispatcher::cancel(model::Attempt attempt) {
  const auto found = serving_.find(attempt.instance);
  const auto serving = found == serving_.end() ? nullptr : found->second.lock();
  if (!serving || serving->running.erase(attempt.id) == 0) co_return;
  protocol::ToTd message = protocol::CancelJob{attempt.id};
  static_cast<void>(co_await serving->link->send(std::move(message)));
}

}  // namespace cloister::scheduler
