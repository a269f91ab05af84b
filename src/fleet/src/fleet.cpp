#include "cloister/fleet/fleet.hpp"

#include <algorithm>

#include "cloister/protocol/host.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/storage/fleet.hpp"

namespace cloister::fleet {
namespace {

namespace host_protocol = protocol::host;
namespace instances = storage::instances;
namespace validators = storage::validators;
using model::InstanceState;
using model::ValidatorState;
using runtime::Task;

constexpr std::chrono::seconds kReconcileEvery{2};
constexpr std::chrono::seconds kLoginTimeout{10};
constexpr unsigned kMaxBackoffShift = 6;  // a minute

policy::ReferenceValue reference_of(const model::ReferenceValue& value, std::string challenge, std::string version) {
  return {std::move(challenge), std::move(version), value.mrtd, value.image_digest, value.configuration_digest};
}

/// Whether an instance ended because of what it is or did, and not because it went away.
bool was_refused(Errc code) {
  const bool gone = code == Errc::peer_closed || code == Errc::channel_truncated || code == Errc::cancelled;
  return !gone && http_status(code) < 500;
}

/// One transaction with one change.
template <class F>
Result<void> change(storage::Database& database, F apply) {
  CLOISTER_TRY(transaction, database.write());
  CLOISTER_CHECK(apply(transaction));
  return transaction.commit();
}

}  // namespace

/// A host agent's connection, from its login on.
struct Fleet::Host {
  Host(model::Validator v, std::shared_ptr<http::WebSocket> socket, runtime::Executor executor, log::Logger& logger)
      : validator{std::move(v)}, mux{std::move(socket)}, tasks{std::move(executor), logger, "host"} {}
  model::Validator validator;
  relay::Mux mux;
  runtime::TaskGroup tasks;  // its TDs
  bool verified = false;
  bool draining = false;
  bool validator_td_started = false;
  /// Instances that were asked for here, and have not ended. True: their stream was announced.
  std::map<InstanceId, bool> instances;
  std::map<InstanceId, model::Version> versions;
};

Fleet::Fleet(Services services, Options options, runtime::Executor executor)
    : services_{services}, options_{std::move(options)}, executor_{std::move(executor)} {}

Fleet::~Fleet() = default;

Result<void> Fleet::recover() {
  const auto now = services_.clock.now();
  CLOISTER_TRY(transaction, services_.database.write());
  instances::Filter live;
  live.live_only = true;
  CLOISTER_TRY(left, instances::list(transaction, live));
  for (const auto& instance : left) {
    CLOISTER_CHECK(instances::set_state(transaction, instance.id, InstanceState::lost, "server_restarted"));
  }
  CLOISTER_TRY(known, validators::list(transaction));
  for (const auto& validator : known) {
    if (validator.state == ValidatorState::enrolled || validator.state == ValidatorState::draining) continue;
    CLOISTER_CHECK(validators::set_state(transaction, validator.id, ValidatorState::lost));
  }
  CLOISTER_CHECK(transaction.commit());
  for (const auto& instance : left) {
    CLOISTER_TRY(ended, services_.jobs.instance_gone(instance.id, now));
    static_cast<void>(ended);
  }
  return {};
}

Task<void> Fleet::serve_host(std::shared_ptr<http::WebSocket> socket) {
  auto logged_in = co_await log_in(socket);
  if (!logged_in) {
    services_.refusals.note(logged_in.error().code(), services_.clock.now());
    services_.logger.warn("host.refused", {{"address", socket->remote_address()},
                                           {"code", to_string(logged_in.error().code())},
                                           {"detail", logged_in.error().detail()}});
    co_await socket->close(http::CloseCode::policy_violation, "login refused");
    co_return;
  }
  const HostPtr host = *std::move(logged_in);
  const auto id = host->validator.id;
  if (const auto before = hosts_.find(id); before != hosts_.end()) {
    const HostPtr old = before->second;
    hosts_.erase(before);
    co_await old->mux.close(http::CloseCode::policy_violation, "this hotkey logged in again");
  }
  hosts_.emplace(id, host);
  const metrics::Presence connection{*connections_};
  services_.logger.info("host.connected", {{"validator", id.str()}, {"capacity", host->validator.capacity}});
  co_await set_validator_state(id, ValidatorState::connected);
  auto ended = co_await serve_control(host);
  const Error why = ended ? Error{Errc::peer_closed, "the host agent left"} : std::move(ended).error();
  services_.logger.warn("host.gone", {{"validator", id.str()}, {"detail", why.text()}});
  const bool current = hosts_.contains(id) && hosts_.at(id) == host;
  if (current) hosts_.erase(id);
  co_await host->mux.close(http::CloseCode::normal, "bye");
  // The streams have ended, so each TD's task runs to its own end and says what became of the instance.
  auto empty = co_await host->tasks.wait_until_empty(step());
  if (!empty) co_await host->tasks.cancel_and_wait();
  const auto left = host->instances;
  for (const auto& [instance, announced] : left) {
    co_await end_instance(host, instance, InstanceState::lost, why);
  }
  if (current) co_await set_validator_state(id, ValidatorState::lost);
  wake();
}

Task<Result<Fleet::HostPtr>> Fleet::log_in(std::shared_ptr<http::WebSocket> socket) {
  const auto nonce = services_.random.array<32>();
  const host_protocol::ToHost hello = host_protocol::Hello{options_.server_id, nonce};
  auto sent = co_await socket->send_text(host_protocol::encode(hello));
  if (!sent) co_return std::move(sent).error();
  auto receiving = socket->receive();
  auto answer = co_await runtime::with_deadline(Deadline::after(services_.clock, kLoginTimeout), std::move(receiving));
  if (!answer) co_return std::move(answer).error();
  auto message = host_protocol::decode_to_server(as_text(answer->data));
  if (!message) co_return std::move(message).error();
  const auto* login = std::get_if<host_protocol::Login>(&*message);
  if (login == nullptr) co_return Error{Errc::channel_message_invalid, "a login was expected"};

  const auto refuse = [](const Error& why) {
    return host_protocol::encode(host_protocol::ToHost{
        host_protocol::RefusedLogin{std::string{to_string(why.code())}, why.detail()}});
  };
  const auto text = host_protocol::login_message(options_.server_id, nonce);
  auto proved = crypto::ed25519_verify(login->hotkey, text, login->signature);
  auto find = [this, hotkey = login->hotkey]() -> Result<model::Validator> {
    CLOISTER_TRY(snapshot, services_.database.read());
    return validators::by_hotkey(snapshot, hotkey);
  };
  auto known = co_await services_.pool.run(std::move(find));
  if (!proved || !known) {
    // One answer for both, so that nobody learns which hotkeys are enrolled.
    const Error why{Errc::unauthenticated, "no enrolled hotkey with this signature"};
    static_cast<void>(co_await socket->send_text(refuse(why)));
    co_return why;
  }
  if (known->state == ValidatorState::draining) {
    const Error why{Errc::conflict, "this validator is draining"};
    static_cast<void>(co_await socket->send_text(refuse(why)));
    co_return why;
  }
  known->capacity = login->capacity;
  auto note = [this, id = known->id, capacity = login->capacity] {
    return change(services_.database, [&](auto& transaction) {
      return validators::set_capacity(transaction, id, capacity);
    });
  };
  auto noted = co_await services_.pool.run(std::move(note));
  if (!noted) co_return std::move(noted).error();
  const host_protocol::ToHost welcome = host_protocol::Welcome{known->id, options_.host_token(known->id)};
  auto welcomed = co_await socket->send_text(host_protocol::encode(welcome));
  if (!welcomed) co_return std::move(welcomed).error();
  co_return std::make_shared<Host>(*std::move(known), std::move(socket), executor_, services_.logger);
}

Task<Result<void>> Fleet::serve_control(HostPtr host) {
  const host_protocol::ToHost start = host_protocol::StartValidatorTd{services_.registry.validator_configuration()};
  auto sent = co_await host->mux.send_control(host_protocol::encode(start));
  if (!sent) co_return sent;
  for (;;) {
    auto text = co_await host->mux.receive_control();
    if (!text) co_return std::move(text).error();
    auto message = host_protocol::decode_to_server(*text);
    if (!message) co_return std::move(message).error();
    auto taken = on_message(host, *message);
    if (!taken) co_return taken;
  }
}

Result<void> Fleet::on_message(const HostPtr& host, const host_protocol::ToServer& message) {
  if (const auto* started = std::get_if<host_protocol::StartedValidatorTd>(&message)) {
    if (host->validator_td_started) return Error{Errc::channel_message_invalid, "one TD of the validator's own only"};
    host->validator_td_started = true;
    CLOISTER_TRY(stream, host->mux.open(started->stream));
    host->tasks.spawn("validator-td", run_validator_td(host, std::move(stream)));
    return {};
  }
  if (const auto* started = std::get_if<host_protocol::Started>(&message)) {
    const auto asked = host->instances.find(started->instance);
    if (asked == host->instances.end() || asked->second) {
      return Error{Errc::channel_message_invalid, "instance " + started->instance.str() + " was not asked for here"};
    }
    asked->second = true;
    CLOISTER_TRY(stream, host->mux.open(started->stream));
    host->tasks.spawn("instance", run_instance(host, started->instance, std::move(stream)));
    return {};
  }
  if (const auto* failed = std::get_if<host_protocol::StartFailed>(&message)) {
    if (failed->instance.empty()) return Error{Errc::unavailable, "its own TD: " + failed->code + ": " + failed->detail};
    if (host->instances.contains(failed->instance)) {
      const Error why{errc_from_string(failed->code).value_or(Errc::unavailable), failed->detail};
      host->tasks.spawn("start-failed", end_instance(host, failed->instance, InstanceState::lost, why));
    }
    return {};
  }
  if (const auto* exited = std::get_if<host_protocol::Exited>(&message)) {
    services_.logger.info("td.exited", {{"instance", exited->instance.str()}, {"status", exited->status}});
    return {};
  }
  return Error{Errc::channel_message_invalid, "already logged in"};
}

Task<void> Fleet::run_validator_td(HostPtr host, std::shared_ptr<relay::Stream> stream) {
  auto handshake = links::TdLink::accept(stream, options_.keys, protocol::Role::validator, &services_.random, &services_.clock);
  auto link = co_await runtime::with_deadline(step(), std::move(handshake));
  std::optional<metrics::Presence> channel;
  if (link) channel.emplace(channels_.with({to_string(protocol::Role::validator)}));
  links::Expectation expectation;
  expectation.role = protocol::Role::validator;
  expectation.validator = host->validator.id;
  expectation.hotkey = host->validator.hotkey;
  expectation.reference = reference_of(services_.registry.validator_reference(), "", "");
  while (link) {
    auto session = co_await services_.attestor.attest(*link, expectation, step());
    if (!session) break;
    host->verified = true;
    co_await set_validator_state(host->validator.id, ValidatorState::verified);
    wake();
    // It says nothing more, until it is asked again before its facts expire.
    const auto left = session->expires() - services_.clock.now();
    const Deadline again{services_.clock.steady() + std::chrono::duration_cast<std::chrono::milliseconds>(left) * 4 / 5};
    auto receiving = (*link)->receive();
    auto message = co_await runtime::with_deadline(again, std::move(receiving));
    if (message || message.error().code() != Errc::deadline_exceeded) break;
  }
  host->verified = false;
  services_.logger.warn("validator.unverified", {{"validator", host->validator.id.str()},
                                                 {"detail", link ? "its TD ended" : link.error().text()}});
  // A host without its own TD has nothing to offer.
  co_await host->mux.close(http::CloseCode::policy_violation, "the validator's TD is not attested");
}

Task<void> Fleet::run_instance(HostPtr host, InstanceId id, std::shared_ptr<relay::Stream> stream) {
  const auto version = host->versions.at(id);
  const Error why = co_await drive_instance(host, id, version, stream);
  co_await stream->close();
  const host_protocol::ToHost stop = host_protocol::Stop{id};
  static_cast<void>(co_await host->mux.send_control(host_protocol::encode(stop)));
  co_await end_instance(host, id, was_refused(why.code()) ? InstanceState::refused : InstanceState::lost, why);
}

Task<Error> Fleet::drive_instance(HostPtr host, InstanceId id, model::Version version,
                                  std::shared_ptr<relay::Stream> stream) {
  auto handshake = links::TdLink::accept(stream, options_.keys, protocol::Role::instance, &services_.random, &services_.clock);
  auto link = co_await runtime::with_deadline(step(), std::move(handshake));
  if (!link) co_return std::move(link).error();
  const metrics::Presence channel{channels_.with({to_string(protocol::Role::instance)})};
  co_await set_state(id, InstanceState::attesting, std::nullopt);
  links::Expectation expectation;
  expectation.role = protocol::Role::instance;
  expectation.instance = id;
  expectation.validator = host->validator.id;
  expectation.reference = reference_of(version.reference, version.spec.challenge.str(), version.id.str());
  auto session = co_await services_.attestor.attest(*link, std::move(expectation), step());
  if (!session) co_return std::move(session).error();
  auto slots = co_await supply(*link, *session);
  if (!slots) co_return std::move(slots).error();
  co_await set_state(id, InstanceState::ready, std::nullopt);
  backoff_.erase(version.id);
  services_.jobs.changed().notify_all();
  services_.logger.info("instance.ready", {{"instance", id.str()}, {"version", version.id.str()}});
  scheduler::Dispatcher::Notify notify = [this, host](const host_protocol::Attempt& attempt) {
    host->tasks.spawn("notice", tell(host, attempt));
  };
  co_return co_await services_.dispatcher.serve(*link, *session, *slots, std::move(notify));
}

Task<Result<std::uint32_t>> Fleet::supply(std::shared_ptr<links::TdLink> link, session::AttestedSession session) {
  const metrics::Stopwatch watch{services_.clock};
  auto work = [this, &session] { return services_.broker.release_all(session, services_.clock.now()); };
  auto release = co_await services_.pool.run(std::move(work));
  released_.with({release ? "released" : "refused"}).observe(watch.elapsed());
  if (!release) co_return std::move(release).error();
  protocol::ToTd message = *std::move(release);
  auto sent = co_await link->send(std::move(message));
  if (!sent) co_return std::move(sent).error();
  auto receiving = link->receive();
  auto answer = co_await runtime::with_deadline(step(), std::move(receiving));
  if (!answer) co_return std::move(answer).error();
  if (const auto* ready = std::get_if<protocol::Ready>(&*answer)) co_return ready->slots;
  if (const auto* failed = std::get_if<protocol::Failed>(&*answer)) {
    co_return Error{errc_from_string(failed->code).value_or(Errc::challenge_failed), failed->detail};
  }
  co_return Error{Errc::channel_message_invalid, "ready or failed was expected"};
}

Task<void> Fleet::tell(HostPtr host, host_protocol::ToHost message) {
  static_cast<void>(co_await host->mux.send_control(host_protocol::encode(message)));
}

Task<void> Fleet::end_instance(HostPtr host, InstanceId id, InstanceState state, Error why) {
  if (const auto version = host->versions.find(id); version != host->versions.end()) {
    note_failure(version->second.id);
    host->versions.erase(version);
  }
  host->instances.erase(id);
  services_.logger.warn("instance.ended", {{"instance", id.str()},
                                           {"state", model::to_string(state)},
                                           {"code", to_string(why.code())},
                                           {"detail", why.detail()}});
  co_await set_state(id, state, why.text());
  auto work = [this, id] { return services_.jobs.instance_gone(id, services_.clock.now()); };
  auto released = co_await services_.pool.run(std::move(work));
  if (!released) services_.logger.error("storage.failed", {{"detail", released.error().text()}});
  wake();
}

Task<void> Fleet::set_state(InstanceId id, InstanceState state, std::optional<std::string> failure) {
  auto work = [this, id, state, failure = std::move(failure)] {
    return change(services_.database, [&](auto& transaction) {
      return instances::set_state(transaction, id, state, failure);
    });
  };
  auto done = co_await services_.pool.run(std::move(work));
  if (!done && done.error().code() != Errc::conflict) {
    services_.logger.error("storage.failed", {{"detail", done.error().text()}});
  }
}

Task<void> Fleet::set_validator_state(ValidatorId id, ValidatorState state) {
  auto work = [this, id, state] {
    return change(services_.database, [&](auto& transaction) {
      return validators::set_state(transaction, id, state);
    });
  };
  auto done = co_await services_.pool.run(std::move(work));
  if (!done) services_.logger.error("storage.failed", {{"detail", done.error().text()}});
}

void Fleet::note_failure(const VersionId& version) {
  auto& backoff = backoff_[version];
  const auto shift = std::min(backoff.failures++, kMaxBackoffShift);
  backoff.next = services_.clock.steady() + std::chrono::seconds{1} * (1U << shift);
}

void Fleet::drain(const ValidatorId& validator) {
  const auto host = hosts_.find(validator);
  if (host == hosts_.end()) return;
  host->second->draining = true;
  wake();
}

Task<void> Fleet::resume(ValidatorId validator) {
  const auto host = hosts_.find(validator);
  if (host == hosts_.end()) co_return;
  host->second->draining = false;
  const auto state = host->second->verified ? ValidatorState::verified : ValidatorState::connected;
  co_await set_validator_state(validator, state);
  wake();
}

Fleet::HostPtr Fleet::host_with_room() const {
  HostPtr best;
  for (const auto& [id, host] : hosts_) {
    if (!host->verified || host->draining || host->instances.size() >= host->validator.capacity) continue;
    if (!best || host->instances.size() < best->instances.size()) best = host;
  }
  return best;
}

Task<void> Fleet::reconcile() {
  for (;;) {
    const auto seen = changed_.version();
    co_await reconcile_once();
    auto waited = co_await changed_.wait(seen, Deadline::after(services_.clock, kReconcileEvery));
    if (!waited && waited.error().code() == Errc::cancelled) co_return;
  }
}

Task<void> Fleet::reconcile_once() {
  auto work = [this] { return services_.registry.active(); };
  auto active = co_await services_.pool.run(std::move(work));
  if (!active) {
    services_.logger.error("storage.failed", {{"detail", active.error().text()}});
    co_return;
  }
  for (const auto& [tenant, version] : *active) {
    std::size_t live = 0;
    for (const auto& [id, host] : hosts_) {
      if (host->draining) continue;
      live += static_cast<std::size_t>(std::ranges::count_if(
          host->versions, [&](const auto& entry) { return entry.second.id == version.id; }));
    }
    const auto backoff = backoff_.find(version.id);
    const bool waits = backoff != backoff_.end() && services_.clock.steady() < backoff->second.next;
    for (; live < version.spec.instances && !waits; ++live) {
      const HostPtr host = host_with_room();
      if (!host) co_return;
      co_await start_instance(host, version);
    }
  }
}

Task<void> Fleet::start_instance(HostPtr host, model::Version version) {
  model::Instance instance;
  instance.id = InstanceId::make(services_.random);
  instance.version = version.id;
  instance.validator = host->validator.id;
  instance.created = services_.clock.now();
  host->instances.emplace(instance.id, false);
  host->versions.emplace(instance.id, version);
  auto prepare = [this, &instance, &version]() -> Result<std::vector<Digest32>> {
    CLOISTER_CHECK(change(services_.database, [&](auto& transaction) { return instances::add(transaction, instance); }));
    return services_.registry.blobs_of(version);
  };
  auto blobs = co_await services_.pool.run(std::move(prepare));
  if (!blobs) {
    co_await end_instance(host, instance.id, InstanceState::lost, std::move(blobs).error());
    co_return;
  }
  services_.logger.info("instance.starting", {{"instance", instance.id.str()},
                                              {"version", version.id.str()},
                                              {"validator", host->validator.id.str()}});
  host_protocol::Start start{instance.id, version.configuration, *std::move(blobs), version.spec.memory_mib};
  const host_protocol::ToHost message = std::move(start);
  auto sent = co_await host->mux.send_control(host_protocol::encode(message));
  if (!sent) co_await end_instance(host, instance.id, InstanceState::lost, std::move(sent).error());
}

Task<void> Fleet::shut_down() {
  const auto hosts = hosts_;
  for (const auto& [id, host] : hosts) {
    co_await host->mux.close(http::CloseCode::going_away, "the server stops");
    co_await host->tasks.cancel_and_wait();
  }
}

void Fleet::write_metrics(metrics::TextWriter& out) const {
  connections_.write(out);
  channels_.write(out);
  services_.attestor.write_metrics(out);
  released_.write(out);
}

}  // namespace cloister::fleet
