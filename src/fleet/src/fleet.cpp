#include "cloister/fleet/fleet.hpp"

#include <algorithm>

#include "cloister/protocol/host.hpp"
#include "cloister/relay/mux.hpp"
#include "cloister/storage/challenges.hpp"
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
constexpr std::chrono::seconds kWriteAgain{1};
constexpr unsigned kMaxBackoffShift = 6;  // a minute
constexpr unsigned kMaxBroken = 5;        // streams of one instance that end before it is ready

policy::ReferenceValue reference_of(const model::ReferenceValue& value, std::string challenge, std::string version) {
  return {std::move(challenge), std::move(version), value.mrtd, value.image_digest, value.configuration_digest};
}

/// What an instance is that ended so: refused for what it is or did, or lost because it went away.
InstanceState state_after(Errc code) {
  const bool gone = code == Errc::peer_closed || code == Errc::channel_truncated || code == Errc::cancelled ||
                    code == Errc::session_expired;
  return gone || http_status(code) >= 500 ? InstanceState::lost : InstanceState::refused;
}

/// Whether an instance whose stream ended so may come back over another: its stream broke, its session is
/// over, or the fault is ours.
bool may_return(Errc code) {
  return code == Errc::peer_closed || code == Errc::channel_truncated || code == Errc::storage_failure ||
         code == Errc::overloaded || code == Errc::unavailable || code == Errc::session_expired;
}

/// When a TD should attest again: at half of its session.
UnixTime renewal_of(const session::AttestedSession& session) {
  return session.opened() + (session.expires() - session.opened()) / 2;
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
  std::set<InstanceId> running;  // what its login offered
  Error why{Errc::cancelled, "the server stopped serving this host"};  // why the connection ended
  bool left = false;             // nothing of this connection goes on
  runtime::AsyncEvent leaving;
  runtime::AsyncEvent verifying;  // notified when `verified` changes
};

/// An instance that has not ended, with or without a stream.
struct Fleet::Instance {
  InstanceId id;
  ValidatorId validator;
  model::Version version;
  SteadyTime since;                       // when it was asked for, or lost its stream
  bool started = false;                   // its host said so once
  HostPtr host;                           // where its newest stream is
  std::shared_ptr<relay::Stream> stream;  // nothing while it has none
  bool served = false;                    // some task speaks with it, perhaps over a stream that has ended
  runtime::AsyncEvent idle;
  unsigned broken = 0;                    // streams that ended since it was last ready

  // While it is ready:
  std::shared_ptr<links::TdLink> link;            // shared with the dispatcher
  UnixTime renew_at = UnixTime::max();            // when its session is to be renewed
  std::optional<session::Connection> challenged;  // it was challenged again, and has not answered
  SteadyTime challenged_at;

  [[nodiscard]] links::Expectation expectation() const {
    links::Expectation out;
    out.role = protocol::Role::instance;
    out.instance = id;
    out.validator = validator;
    out.reference = reference_of(version.reference, version.spec.challenge.str(), version.id.str());
    return out;
  }
  void disconnect(SteadyTime now) {
    host = nullptr;
    stream = nullptr;
    link = nullptr;
    renew_at = UnixTime::max();
    challenged.reset();
    since = now;
  }
};

Fleet::Fleet(Services services, Options options, runtime::Executor executor)
    : services_{services},
      options_{std::move(options)},
      executor_{std::move(executor)},
      records_{executor_, services_.logger, "fleet"} {}

Fleet::~Fleet() = default;

Result<void> Fleet::recover() {
  CLOISTER_TRY(transaction, services_.database.write());
  instances::Filter live;
  live.live_only = true;
  CLOISTER_TRY(left, instances::list(transaction, live));
  for (auto& row : left) {
    CLOISTER_CHECK(instances::set_state(transaction, row.id, InstanceState::attesting));
    CLOISTER_TRY(version, storage::challenges::version(transaction, row.version));
    auto instance = std::make_shared<Instance>();
    instance->id = row.id;
    instance->validator = row.validator;
    instance->version = std::move(version.version);
    instance->since = services_.clock.steady();
    instance->started = true;
    instances_.emplace(row.id, std::move(instance));
  }
  CLOISTER_TRY(known, validators::list(transaction));
  for (const auto& validator : known) {
    if (validator.state == ValidatorState::enrolled || validator.state == ValidatorState::draining) continue;
    CLOISTER_CHECK(validators::set_state(transaction, validator.id, ValidatorState::lost));
  }
  CLOISTER_CHECK(transaction.commit());
  // What an instance goes on with is not given to another because the server was away.
  return services_.jobs.prolong_leases(options_.return_window);
}

bool Fleet::is_current(const HostPtr& host) const {
  const auto found = hosts_.find(host->validator.id);
  return found != hosts_.end() && found->second == host;
}

Task<void> Fleet::serve_host(std::shared_ptr<http::WebSocket> socket) {
  if (stopping_) co_return;
  sockets_.insert(socket);
  Task<void> work = serve_socket(socket);
  Task<void> cleanup = forget(socket);
  co_await runtime::finally(std::move(work), std::move(cleanup));
}

Task<void> Fleet::forget(std::shared_ptr<http::WebSocket> socket) {
  sockets_.erase(socket);
  socket_gone_.notify_all();
  co_return;
}

Task<void> Fleet::serve_socket(std::shared_ptr<http::WebSocket> socket) {
  Task<Result<HostPtr>> logging_in = log_in(socket);
  auto logged_in = co_await runtime::with_deadline(Deadline::after(services_.clock, kLoginTimeout), std::move(logging_in));
  if (!logged_in) {
    services_.refusals.note(logged_in.error().code(), services_.clock.now());
    services_.logger.warn("host.refused", {{"address", socket->remote_address()},
                                           {"code", to_string(logged_in.error().code())},
                                           {"detail", logged_in.error().detail()}});
    co_await socket->close(http::CloseCode::policy_violation, "login refused");
    co_return;
  }
  const HostPtr host = *std::move(logged_in);
  Task<void> work = serve_logged_in(host);
  Task<void> cleanup = leave(host);
  co_await runtime::finally(std::move(work), std::move(cleanup));
}

Task<void> Fleet::serve_logged_in(HostPtr host) {
  const auto id = host->validator.id;
  // In its place before anything is awaited, so that of several logins the newest stays.
  if (const HostPtr before = std::exchange(hosts_[id], host)) {
    co_await before->mux.close(http::CloseCode::policy_violation, "this hotkey logged in again");
    for (auto seen = before->leaving.version(); !before->left; seen = before->leaving.version()) {
      static_cast<void>(co_await before->leaving.wait(seen, step()));
    }
    if (!is_current(host)) {
      host->why = Error{Errc::conflict, "this hotkey logged in again"};
      co_return;
    }
  }
  const metrics::Presence connection{*connections_};
  services_.logger.info("host.connected", {{"validator", id.str()}, {"capacity", host->validator.capacity}});
  static_cast<void>(co_await set_validator_state(id, ValidatorState::connected));  // followed by `verified`
  end_missing(host);
  host->tasks.spawn("token", renew_token(host));
  auto ended = co_await serve_control(host);
  host->why = ended ? Error{Errc::peer_closed, "the host agent left"} : std::move(ended).error();
}

/// What follows a connection's end, however it came.
Task<void> Fleet::leave(HostPtr host) {
  const auto id = host->validator.id;
  services_.logger.warn("host.gone", {{"validator", id.str()}, {"detail", host->why.text()}});
  host->verified = false;
  co_await host->mux.close(http::CloseCode::normal, "bye");
  // The streams have ended; what still runs need not run any longer.
  co_await host->tasks.cancel_and_wait();
  std::vector<InstanceId> left;
  for (const auto& [instance_id, instance] : instances_) {
    if (instance->host != host) continue;
    instance->disconnect(services_.clock.steady());
    left.push_back(instance_id);
  }
  static_cast<void>(co_await set_states(std::move(left), InstanceState::attesting));  // followed by its return or end
  if (is_current(host)) {
    hosts_.erase(id);
    auto written = co_await set_validator_state(id, ValidatorState::lost);
    if (!written) records_.spawn("absence", record_absence(id));
  }
  host->left = true;
  host->leaving.notify_all();
  wake();
}

Task<Result<Fleet::HostPtr>> Fleet::log_in(std::shared_ptr<http::WebSocket> socket) {
  const auto nonce = services_.random.array<32>();
  const host_protocol::ToHost hello = host_protocol::Hello{options_.server_id, nonce};
  auto sent = co_await socket->send_text(host_protocol::encode(hello));
  if (!sent) co_return std::move(sent).error();
  auto answer = co_await socket->receive();
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
  auto host = std::make_shared<Host>(*std::move(known), std::move(socket), executor_, services_.logger);
  host->running.insert(login->running.begin(), login->running.end());
  co_return host;
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

Task<void> Fleet::tell(HostPtr host, host_protocol::ToHost message) {
  // A host that does not hear it has lost its connection, which ends what the message was about.
  static_cast<void>(co_await host->mux.send_control(host_protocol::encode(message)));
}

Task<void> Fleet::renew_token(HostPtr host) {
  for (;;) {
    auto slept = co_await runtime::sleep_for(options_.token_renewal);
    if (!slept) co_return;
    host_protocol::ToHost message = host_protocol::Token{options_.host_token(host->validator.id)};
    co_await tell(host, std::move(message));
  }
}

Result<void> Fleet::on_message(const HostPtr& host, const host_protocol::ToServer& message) {
  if (const auto* own = std::get_if<host_protocol::StartedValidatorTd>(&message)) {
    if (host->validator_td_started) return Error{Errc::channel_message_invalid, "one TD of the validator's own only"};
    host->validator_td_started = true;
    CLOISTER_TRY(stream, host->mux.open(own->stream));
    host->tasks.spawn("validator-td", run_validator_td(host, std::move(stream)));
    return {};
  }
  if (const auto* started = std::get_if<host_protocol::Started>(&message)) return on_started(host, *started);
  if (const auto* failed = std::get_if<host_protocol::StartFailed>(&message)) return on_start_failed(host, *failed);
  if (const auto* exited = std::get_if<host_protocol::Exited>(&message)) {
    on_exited(host, *exited);
    return {};
  }
  return Error{Errc::channel_message_invalid, "already logged in"};
}

Fleet::InstancePtr Fleet::find(const InstanceId& id) const {
  const auto found = instances_.find(id);
  return found == instances_.end() ? nullptr : found->second;
}

Result<void> Fleet::on_started(const HostPtr& host, const host_protocol::Started& started) {
  const auto instance = find(started.instance);
  if (instance && instance->validator != host->validator.id) {
    services_.refusals.note(Errc::permission_denied, services_.clock.now());
    return Error{Errc::permission_denied, "instance " + instance->id.str() + " was asked of another validator"};
  }
  if (instance && instance->stream && !instance->stream->closed()) {
    return Error{Errc::channel_message_invalid, "instance " + instance->id.str() + " has a stream"};
  }
  CLOISTER_TRY(stream, host->mux.open(started.stream));
  if (!instance) {
    // Too late, or never asked for: nobody needs it.
    host->tasks.spawn("stop", stop_stream(host, started.instance, std::move(stream)));
    return {};
  }
  instance->started = true;
  instance->host = host;
  instance->stream = stream;
  host->tasks.spawn("instance", run_instance(host, instance, std::move(stream)));
  return {};
}

Result<void> Fleet::on_start_failed(const HostPtr& host, const host_protocol::StartFailed& failed) {
  if (failed.instance.empty()) {
    return Error{Errc::unavailable, "its own TD: " + failed.code + ": " + failed.detail};
  }
  const auto instance = find(failed.instance);
  if (!instance || instance->validator != host->validator.id) return {};  // it ended before the host said so
  if (instance->started) {
    return Error{Errc::channel_message_invalid, "instance " + instance->id.str() + " has started"};
  }
  // Whatever code the host gives, what failed is the host.
  end_instance(instance, Error{Errc::unavailable, failed.code + ": " + failed.detail});
  return {};
}

void Fleet::on_exited(const HostPtr& host, const host_protocol::Exited& exited) {
  const auto instance = find(exited.instance);
  if (!instance || instance->validator != host->validator.id) return;
  end_instance(instance, Error{Errc::peer_closed, "its TD ended, status " + std::to_string(exited.status)});
}

/// Of those that this validator had, the ones that it does not offer any more.
void Fleet::end_missing(const HostPtr& host) {
  const auto all = instances_;
  for (const auto& [id, instance] : all) {
    if (instance->validator != host->validator.id || host->running.contains(id)) continue;
    end_instance(instance, Error{Errc::peer_closed, "its host does not have it any more"});
  }
}

Task<void> Fleet::stop_stream(HostPtr host, InstanceId id, std::shared_ptr<relay::Stream> stream) {
  co_await stream->close();
  host_protocol::ToHost stop = host_protocol::Stop{std::move(id)};
  co_await tell(host, std::move(stop));
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
    host->verifying.notify_all();
    auto written = co_await set_validator_state(host->validator.id, ValidatorState::verified);
    if (!written) break;  // it logs in again
    wake();
    const auto again = renewal_of(*session);
    bool silent = true;
    // It says nothing more until it is asked. The wall clock is looked at often, because it may jump.
    while (silent && services_.clock.now() < again) {
      auto receiving = (*link)->receive();
      auto message = co_await runtime::with_deadline(Deadline::after(services_.clock, kReconcileEvery), std::move(receiving));
      silent = !message && message.error().code() == Errc::deadline_exceeded;
    }
    if (!silent) break;
  }
  host->verified = false;
  services_.logger.warn("validator.unverified", {{"validator", host->validator.id.str()},
                                                 {"detail", link ? "its TD ended" : link.error().text()}});
  // A host without its own TD has nothing to offer.
  co_await host->mux.close(http::CloseCode::policy_violation, "the validator's TD is not attested");
}

/// While a task speaks with an instance.
class Fleet::Serving {
 public:
  explicit Serving(InstancePtr instance) : instance_{std::move(instance)} { instance_->served = true; }
  ~Serving() {
    instance_->served = false;
    instance_->idle.notify_all();
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

 private:
  InstancePtr instance_;
};

Task<void> Fleet::run_instance(HostPtr host, InstancePtr instance, std::shared_ptr<relay::Stream> stream) {
  // Whoever spoke over the stream before has seen its end, and is about to finish.
  for (auto seen = instance->idle.version(); instance->served; seen = instance->idle.version()) {
    static_cast<void>(co_await instance->idle.wait(seen, step()));
  }
  const Serving serving{instance};
  const Error why = co_await drive_instance(host, instance, stream);
  instance->link = nullptr;
  const auto since = services_.clock.steady();
  if (!find(instance->id)) co_return;  // somebody else ended it
  if (!may_return(why.code()) || ++instance->broken > kMaxBroken) {
    end_instance(instance, why);
    co_return;
  }
  services_.logger.info("instance.disconnected", {{"instance", instance->id.str()}, {"detail", why.text()}});
  std::vector<InstanceId> ids = {instance->id};
  static_cast<void>(co_await set_states(std::move(ids), InstanceState::attesting));
  if (instance->stream == stream) instance->disconnect(since);
  co_await stream->close();  // upon which its host offers another
}

Task<Error> Fleet::drive_instance(HostPtr host, InstancePtr instance, std::shared_ptr<relay::Stream> stream) {
  for (auto seen = host->verifying.version(); !host->verified; seen = host->verifying.version()) {
    auto waited = co_await host->verifying.wait(seen, step());
    if (!waited) co_return std::move(waited).error();
  }
  auto handshake = links::TdLink::accept(stream, options_.keys, protocol::Role::instance, &services_.random, &services_.clock);
  auto link = co_await runtime::with_deadline(step(), std::move(handshake));
  if (!link) co_return std::move(link).error();
  const metrics::Presence channel{channels_.with({to_string(protocol::Role::instance)})};
  std::vector<InstanceId> ids = {instance->id};
  static_cast<void>(co_await set_states(ids, InstanceState::attesting));
  auto session = co_await services_.attestor.attest(*link, instance->expectation(), step());
  if (!session) co_return std::move(session).error();
  auto slots = co_await supply(*link, *session);
  if (!slots) co_return std::move(slots).error();
  auto written = co_await set_states(std::move(ids), InstanceState::ready);
  if (!written) co_return std::move(written).error();  // nobody could seal anything to it: it attests anew
  if (!find(instance->id)) co_return Error{Errc::peer_closed, "it ended meanwhile"};
  instance->broken = 0;
  instance->link = *link;
  instance->renew_at = renewal_of(*session);
  instance->challenged.reset();
  backoff_.erase(instance->version.id);
  services_.jobs.changed().notify_all();
  services_.logger.info("instance.ready", {{"instance", instance->id.str()},
                                           {"version", instance->version.id.str()}});
  scheduler::Dispatcher::Notify notify = [this, host](const host_protocol::Attempt& attempt) {
    host->tasks.spawn("notice", tell(host, attempt));
  };
  scheduler::Dispatcher::Renew on_attest = [this, instance](protocol::Attest answer) {
    return renew(instance, std::move(answer));
  };
  co_return co_await services_.dispatcher.serve(*link, *session, *slots, std::move(notify),
                                                 std::move(on_attest));
}

Task<void> Fleet::challenge_again(InstancePtr instance) {
  const auto link = instance->link;
  auto issued = co_await services_.attestor.issue(link, instance->expectation());
  if (!issued || instance->link != link) co_return;  // tried again before the session ends, or not needed
  protocol::ToTd challenge = links::Attestor::challenge_of(*issued);
  instance->challenged = *std::move(issued);  // before it is sent: the answer may come at once
  static_cast<void>(co_await link->send(std::move(challenge)));
}

Task<Result<session::AttestedSession>> Fleet::renew(InstancePtr instance, protocol::Attest answer) {
  if (!instance->challenged) co_return Error{Errc::channel_message_invalid, "no evidence was asked for"};
  auto connection = std::move(*instance->challenged);
  instance->challenged.reset();
  auto session = co_await services_.attestor.conclude(instance->link, instance->expectation(), std::move(connection),
                                                      std::move(answer));
  if (session) instance->renew_at = renewal_of(*session);
  co_return session;
}

Task<Result<std::uint32_t>> Fleet::supply(std::shared_ptr<links::TdLink> link, session::AttestedSession session) {
  const metrics::Stopwatch watch{services_.clock};
  auto work = [this, &session] { return services_.broker.release_all(session, services_.clock.now()); };
  auto release = co_await services_.pool.run(std::move(work));
  released_.with({release ? "released" : "refused"}).observe(watch.elapsed());
  if (!release) co_return std::move(release).error();
  protocol::ToTd message = *std::move(release);
  auto sending = link->send(std::move(message));
  auto sent = co_await runtime::with_deadline(step(), std::move(sending));
  if (!sent) co_return std::move(sent).error();
  auto receiving = link->receive();
  auto answer = co_await runtime::with_deadline(step(), std::move(receiving));
  if (!answer) co_return std::move(answer).error();
  if (const auto* ready = std::get_if<protocol::Ready>(&*answer)) co_return ready->slots;
  if (const auto* failed = std::get_if<protocol::Failed>(&*answer)) {
    co_return Error{errc_from_string(failed->code).value_or(Errc::challenge_failed), failed->detail};
  }
  const Error why{Errc::channel_message_invalid, "ready or failed was expected"};
  co_return co_await link->refuse(why);
}

void Fleet::end_instance(const InstancePtr& instance, const Error& why) {
  if (instances_.erase(instance->id) == 0) return;  // it ended before
  note_failure(instance->version.id);
  records_.spawn("end", record_end(instance->id, why));
  if (instance->stream) instance->host->tasks.spawn("stop", stop_stream(instance->host, instance->id, instance->stream));
}

Task<void> Fleet::record_end(InstanceId id, Error why) {
  const auto state = state_after(why.code());
  services_.logger.warn("instance.ended", {{"instance", id.str()},
                                           {"state", model::to_string(state)},
                                           {"code", to_string(why.code())},
                                           {"detail", why.detail()}});
  auto work = [this, &id, state, &why] {
    return services_.jobs.end_instance(id, state, why.text(), services_.clock.now());
  };
  // It has ended whatever the storage says, and nobody else writes that down.
  for (;;) {
    auto ended = co_await services_.pool.run(work);
    if (ended) break;
    services_.logger.error("storage.failed", {{"detail", ended.error().text()}});
    if (http_status(ended.error().code()) < 500) break;
    auto slept = co_await runtime::sleep_for(kWriteAgain);
    if (!slept) co_return;
  }
  wake();
}

/// That no host is there, written down as soon as the storage takes it, unless one is there again.
Task<void> Fleet::record_absence(ValidatorId id) {
  for (;;) {
    auto slept = co_await runtime::sleep_for(kWriteAgain);
    if (!slept || hosts_.contains(id)) co_return;
    auto written = co_await set_validator_state(id, ValidatorState::lost);
    if (written) co_return;
  }
}

Task<Result<void>> Fleet::set_states(std::vector<InstanceId> ids, InstanceState state) {
  if (ids.empty()) co_return Result<void>{};
  auto work = [this, &ids, state] {
    return change(services_.database, [&](auto& transaction) -> Result<void> {
      for (const auto& id : ids) {
        auto set = instances::set_state(transaction, id, state);
        if (!set && set.error().code() != Errc::conflict) return set;  // one that ended meanwhile stays so
      }
      return {};
    });
  };
  auto done = co_await services_.pool.run(std::move(work));
  if (!done) services_.logger.error("storage.failed", {{"detail", done.error().text()}});
  co_return done;
}

Task<Result<void>> Fleet::set_validator_state(ValidatorId id, ValidatorState state) {
  auto work = [this, id, state] {
    return change(services_.database, [&](auto& transaction) -> Result<void> {
      CLOISTER_TRY(validator, validators::get(transaction, id));
      if (validator.state == ValidatorState::draining) return {};  // an operator's word, until an operator takes it back
      return validators::set_state(transaction, id, state);
    });
  };
  auto done = co_await services_.pool.run(std::move(work));
  if (!done) services_.logger.error("storage.failed", {{"detail", done.error().text()}});
  co_return done;
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
  static_cast<void>(co_await set_validator_state(validator, state));  // an operator's word, who can say it again
  wake();
}

bool Fleet::is_draining(const ValidatorId& validator) const {
  const auto host = hosts_.find(validator);
  return host != hosts_.end() && host->second->draining;
}

std::size_t Fleet::instances_on(const ValidatorId& validator) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      instances_, [&](const auto& entry) { return entry.second->validator == validator; }));
}

Fleet::HostPtr Fleet::host_with_room() const {
  HostPtr best;
  std::size_t least = 0;
  for (const auto& [id, host] : hosts_) {
    const auto has = instances_on(id);
    if (!host->verified || host->draining || has >= host->validator.capacity || (best && has >= least)) continue;
    best = host;
    least = has;
  }
  return best;
}

Task<void> Fleet::reconcile() {
  for (;;) {
    const auto seen = changed_.version();
    end_overdue();
    renew_sessions();
    co_await start_missing();
    auto waited = co_await changed_.wait(seen, Deadline::after(services_.clock, kReconcileEvery));
    if (!waited && waited.error().code() == Errc::cancelled) co_return;
  }
}

Task<void> Fleet::start_missing() {
  auto work = [this] { return services_.registry.active(); };
  auto active = co_await services_.pool.run(std::move(work));
  if (!active) {
    services_.logger.error("storage.failed", {{"detail", active.error().text()}});
    co_return;
  }
  for (const auto& [tenant, version] : *active) {
    auto live = std::ranges::count_if(instances_, [this, &id = version.id](const auto& entry) {
      return entry.second->version.id == id && !is_draining(entry.second->validator);
    });
    const auto backoff = backoff_.find(version.id);
    const bool waits = backoff != backoff_.end() && services_.clock.steady() < backoff->second.next;
    for (; live < std::ptrdiff_t{version.spec.instances} && !waits; ++live) {
      const HostPtr host = host_with_room();
      if (!host) co_return;
      co_await start_instance(host, version);
    }
  }
}

void Fleet::end_overdue() {
  const auto now = services_.clock.steady();
  const auto all = instances_;
  for (const auto& [id, instance] : all) {
    if (!instance->stream && !instance->started && now - instance->since >= options_.step_timeout) {
      end_instance(instance, Error{Errc::deadline_exceeded, "the host did not start it in time"});
    } else if (!instance->stream && instance->started && now - instance->since >= options_.return_window) {
      end_instance(instance, Error{Errc::peer_closed, "it did not come back in time"});
    } else if (instance->challenged && now - instance->challenged_at >= options_.step_timeout) {
      end_instance(instance, Error{Errc::deadline_exceeded, "it did not attest again in time"});
    }
  }
}

void Fleet::renew_sessions() {
  const auto now = services_.clock.now();
  for (const auto& [id, instance] : instances_) {
    if (!instance->link || instance->challenged || now < instance->renew_at) continue;
    instance->renew_at = now + kReconcileEvery * 5;  // again, should the challenge itself fail
    instance->challenged_at = services_.clock.steady();
    instance->host->tasks.spawn("challenge", challenge_again(instance));
  }
}

Task<void> Fleet::start_instance(HostPtr host, model::Version version) {
  model::Instance instance;
  instance.id = InstanceId::make(services_.random);
  instance.version = version.id;
  instance.validator = host->validator.id;
  instance.created = services_.clock.now();
  auto prepare = [this, &instance, &version]() -> Result<std::vector<Digest32>> {
    CLOISTER_TRY(blobs, services_.registry.blobs_of(version));
    CLOISTER_CHECK(change(services_.database, [&](auto& transaction) { return instances::add(transaction, instance); }));
    return blobs;
  };
  auto blobs = co_await services_.pool.run(std::move(prepare));
  if (!blobs) {
    note_failure(version.id);
    services_.logger.error("instance.not_started", {{"version", version.id.str()}, {"detail", blobs.error().text()}});
    co_return;
  }
  if (!is_current(host)) {
    const Error why{Errc::peer_closed, "the host left before it was asked"};
    co_await record_end(instance.id, why);
    co_return;
  }
  services_.logger.info("instance.starting", {{"instance", instance.id.str()},
                                              {"version", version.id.str()},
                                              {"validator", host->validator.id.str()}});
  host_protocol::ToHost message =
      host_protocol::Start{instance.id, version.configuration, *std::move(blobs), version.spec.memory_mib};
  auto tracked = std::make_shared<Instance>();
  tracked->id = instance.id;
  tracked->validator = instance.validator;
  tracked->version = std::move(version);
  tracked->since = services_.clock.steady();
  instances_.emplace(instance.id, std::move(tracked));
  // Not awaited: a host that is slow to listen holds up no other.
  host->tasks.spawn("start", tell(host, std::move(message)));
}

Task<void> Fleet::shut_down() {
  stopping_ = true;
  {
    const auto sockets = sockets_;
    runtime::TaskGroup closing{executor_, services_.logger, "shut-down"};
    for (const auto& socket : sockets) {
      closing.spawn("close", socket->close(http::CloseCode::going_away, "the server stops"));
    }
    static_cast<void>(co_await closing.wait_until_empty(step()));
    co_await closing.cancel_and_wait();
  }
  for (auto seen = socket_gone_.version(); !sockets_.empty(); seen = socket_gone_.version()) {
    auto waited = co_await socket_gone_.wait(seen, step());
    if (!waited) break;  // what is to be recorded ends all the same
  }
  static_cast<void>(co_await records_.wait_until_empty(step()));
  co_await records_.cancel_and_wait();
}

void Fleet::write_metrics(metrics::TextWriter& out) const {
  connections_.write(out);
  channels_.write(out);
  services_.attestor.write_metrics(out);
  released_.write(out);
}

}  // namespace cloister::fleet
