#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cloister/audit/refusals.hpp"
#include "cloister/challenge/registry.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/http/websocket.hpp"
#include "cloister/keybroker/broker.hpp"
#include "cloister/links/attestor.hpp"
#include "cloister/metrics/families.hpp"
#include "cloister/protocol/host.hpp"
#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/runtime/task_group.hpp"
#include "cloister/scheduler/dispatcher.hpp"

namespace cloister::fleet {

/// Hosts, and the instances on them. An instance outlives its stream, its host's connection and this server, as long as
/// it comes back in time and proves itself anew (docs/protocol/host.md, "The life of an instance").
/// Everything runs on one executor (a strand); what it is made from outlives it.
class Fleet {
 public:
  struct Services {
    storage::Database& database;
    challenge::Registry& registry;
    links::Attestor& attestor;
    keybroker::Broker& broker;
    scheduler::JobService& jobs;
    scheduler::Dispatcher& dispatcher;
    audit::Refusals& refusals;
    runtime::BlockingPool& pool;
    const Clock& clock;
    Random& random;
    log::Logger& logger;
  };
  struct Options {
    std::string server_id;
    std::vector<const crypto::X25519Key*> keys;  // static keys, current then next
    std::function<std::string(const ValidatorId&)> host_token;  // with which a host fetches blobs
    std::chrono::milliseconds token_renewal{12 * 3'600'000};    // less than such a token's lifetime
    std::chrono::milliseconds step_timeout{60'000};  // for each step of a start: started, handshake, evidence, ready
    std::chrono::milliseconds return_window{30'000};  // for which an instance may be without a stream
  };
  Fleet(Services services, Options options, runtime::Executor executor);
  ~Fleet();

  /// Waits for the instances that were live when the server ended, as for any that lost its stream. To be called once,
  /// before anything is served.
  [[nodiscard]] Result<void> recover();
  /// Serves a host agent's connection until it ends. Several at once; of one hotkey the newest alone.
  [[nodiscard]] runtime::Task<void> serve_host(std::shared_ptr<http::WebSocket> socket);
  /// Starts and stops instances until it is cancelled.
  [[nodiscard]] runtime::Task<void> reconcile();
  /// Starts nothing more on this validator's host, and elsewhere what runs there; its instances go on until the host
  /// leaves. That it drains is the caller's to store. On the executor.
  void drain(const ValidatorId& validator);
  /// Ends that; the state that is stored becomes that of the connection, where there is one. On the executor.
  [[nodiscard]] runtime::Task<void> resume(ValidatorId validator);
  /// Something changed that `reconcile` should look at now. Thread-safe.
  void wake() { changed_.notify_all(); }
  /// Ends every connection, also those that have not logged in, and their tasks, and takes no more.
  [[nodiscard]] runtime::Task<void> shut_down();
  [[nodiscard]] runtime::Executor executor() const { return executor_; }
  /// Connections of hosts, channels of TDs, attestations and releases. Thread-safe.
  void write_metrics(metrics::TextWriter& out) const;

 private:
  struct Host;
  using HostPtr = std::shared_ptr<Host>;  // shared: its tasks outlive its place in `hosts_` for a moment
  struct Instance;
  class Serving;
  using InstancePtr = std::shared_ptr<Instance>;  // shared: the task that serves it outlives its place in `instances_`
  struct Backoff {
    unsigned failures = 0;
    SteadyTime next{};
  };

  [[nodiscard]] runtime::Task<void> serve_socket(std::shared_ptr<http::WebSocket> socket);
  [[nodiscard]] runtime::Task<void> forget(std::shared_ptr<http::WebSocket> socket);
  [[nodiscard]] runtime::Task<Result<HostPtr>> log_in(std::shared_ptr<http::WebSocket> socket);
  [[nodiscard]] runtime::Task<void> serve_logged_in(HostPtr host);
  [[nodiscard]] runtime::Task<void> leave(HostPtr host);
  [[nodiscard]] runtime::Task<Result<void>> serve_control(HostPtr host);
  [[nodiscard]] Result<void> on_message(const HostPtr& host, const protocol::host::ToServer& message);
  [[nodiscard]] Result<void> on_started(const HostPtr& host, const protocol::host::Started& started);
  [[nodiscard]] Result<void> on_start_failed(const HostPtr& host, const protocol::host::StartFailed& failed);
  void on_exited(const HostPtr& host, const protocol::host::Exited& exited);
  void end_missing(const HostPtr& host);
  [[nodiscard]] runtime::Task<void> run_validator_td(HostPtr host, std::shared_ptr<relay::Stream> stream);
  [[nodiscard]] runtime::Task<void> run_instance(HostPtr host, InstancePtr instance,
                                                 std::shared_ptr<relay::Stream> stream);
  [[nodiscard]] runtime::Task<Error> drive_instance(HostPtr host, InstancePtr instance,
                                                    std::shared_ptr<relay::Stream> stream);
  [[nodiscard]] runtime::Task<Result<std::uint32_t>> supply(std::shared_ptr<links::TdLink> link,
                                                            session::AttestedSession session);
  [[nodiscard]] runtime::Task<void> challenge_again(InstancePtr instance);
  [[nodiscard]] runtime::Task<Result<session::AttestedSession>> renew(InstancePtr instance, protocol::Attest answer);
  [[nodiscard]] runtime::Task<void> tell(HostPtr host, protocol::host::ToHost message);
  [[nodiscard]] runtime::Task<void> renew_token(HostPtr host);
  [[nodiscard]] runtime::Task<void> stop_stream(HostPtr host, InstanceId id, std::shared_ptr<relay::Stream> stream);
  [[nodiscard]] InstancePtr find(const InstanceId& id) const;
  void end_instance(const InstancePtr& instance, const Error& why);
  [[nodiscard]] runtime::Task<void> record_end(InstanceId id, Error why);
  [[nodiscard]] runtime::Task<void> record_absence(ValidatorId id);
  [[nodiscard]] runtime::Task<Result<void>> set_states(std::vector<InstanceId> ids, model::InstanceState state);
  [[nodiscard]] runtime::Task<Result<void>> set_validator_state(ValidatorId id, model::ValidatorState state);
  [[nodiscard]] runtime::Task<void> start_missing();
  void end_overdue();
  void renew_sessions();
  [[nodiscard]] runtime::Task<void> start_instance(HostPtr host, model::Version version);
  [[nodiscard]] HostPtr host_with_room() const;
  [[nodiscard]] std::size_t instances_on(const ValidatorId& validator) const;
  [[nodiscard]] bool is_current(const HostPtr& host) const;
  [[nodiscard]] bool is_draining(const ValidatorId& validator) const;
  [[nodiscard]] Deadline step() const { return Deadline::after(services_.clock, options_.step_timeout); }
  void note_failure(const VersionId& version);

  Services services_;
  Options options_;
  runtime::Executor executor_;
  runtime::AsyncEvent changed_;
  bool stopping_ = false;
  std::set<std::shared_ptr<http::WebSocket>> sockets_;  // every connection that is served, logged in or not
  runtime::AsyncEvent socket_gone_;
  std::map<ValidatorId, HostPtr> hosts_;                // the newest connection of each hotkey
  std::map<InstanceId, InstancePtr> instances_;         // those that have not ended
  std::map<VersionId, Backoff> backoff_;
  metrics::Gauges connections_{"cloister_host_connections", "Host agents that are logged in."};
  metrics::Gauges channels_{"cloister_channels", "Attested channels to TDs, by role.", {"role"}};
  metrics::Histograms released_{"cloister_secret_release_duration_seconds",
                                "Release of all of an instance's secrets, until they are sealed.", {"outcome"}};
  runtime::TaskGroup records_;  // what must be written down whatever becomes of the connection that it is about
};

}  // namespace cloister::fleet
