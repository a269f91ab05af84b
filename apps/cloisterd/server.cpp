// The one composition root: builds bottom-up, members end in reverse.
#include "server.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>

#include "cloister/api/api.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/device/kernel.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/kbs/agreement.hpp"
#include "cloister/kms/pkcs11.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/policy/trust_file.hpp"
#include "cloister/process/unix_socket.hpp"
#include "cloister/prover/prover.hpp"
#include "cloister/rego/isolation.hpp"
#include "cloister/runtime/task_group.hpp"
#include "cloister/storage/access.hpp"
#include "collateral_fetcher.hpp"
#include "collateral_files.hpp"
#include "inputs.hpp"
#include "keys.hpp"
#include "start_leaf.hpp"

namespace cloister::server {
namespace {

namespace json = codec::json;
using runtime::Task;

constexpr std::size_t kPoolThreads = 8;
constexpr std::size_t kReaderThreads = 4;
/// Bytes of a header where guests show tokens, which have their init-data in them. Beast 1.81 has room for 64 KiB in a field.
constexpr std::size_t kGuestHeader = std::size_t{60} << 10;
constexpr std::size_t kPoolQueue = 4096;
constexpr std::size_t kProofQueue = 8;  // quotes are dear, and anybody may ask
constexpr std::size_t kGuestProofQueue = 256;
constexpr std::chrono::seconds kCertificateEvery{2};
constexpr std::chrono::hours kCollateralEvery{1};
constexpr std::chrono::hours kAdminLifetime{24 * 366};
constexpr std::chrono::hours kHostLifetime{24};
constexpr std::string_view kDataKeyMade = "data_key.made";  // subject: the key
constexpr std::chrono::minutes kResultLifetime{5};  // of attestation results, as tokens

Error io_error(const std::filesystem::path& path) {
  return Error{Errc::io_error, path.string() + ": " + std::generic_category().message(errno)};
}

Result<void> make_data_directory(const std::filesystem::path& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (::chmod(path.c_str(), 0700) != 0) return io_error(path);
  return {};
}

/// A file for its owner's eyes; replaced whole.
Result<void> write_private(const std::filesystem::path& path, std::string_view text) {
  const auto temporary = path.string() + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(temporary);
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!written || ::rename(temporary.c_str(), path.c_str()) != 0) return io_error(path);
  return {};
}

Result<attestation::TrustAnchors> anchors_of(const Config& config, const Inputs& inputs) {
  if (!inputs.trust) return attestation::TrustAnchors::vendors();
  auto trust = policy::parse_trust_file(*inputs.trust);
  if (!trust) return trust.error().in(config.trust->string());
  return trust->anchors();
}

Result<kbs::Options> broker_options(const KeyBroker& config, const Inputs& inputs, const std::string& server_id) {
  CLOISTER_TRY(tenant, TenantId::parse(config.tenant));
  kbs::Options out{.tenant = tenant, .server_id = server_id, .build = "cloisterd " CLOISTER_VERSION};
  out.allow_sample = config.sample_evidence;
  out.max_resources = config.max_resources;
  out.max_resource_bytes = config.max_resource_bytes;
  if (inputs.attestation_policy) {
    CLOISTER_TRY(policy, appraisal::Policy::compile(config.attestation_policy->string(), *inputs.attestation_policy));
    out.attestation_policy = std::move(policy);
  }
  if (inputs.resource_policy) {
    CLOISTER_TRY(policy, kbs::ResourcePolicy::compile(config.resource_policy->string(), *inputs.resource_policy));
    out.resource_policy = std::move(policy);
  }
  if (inputs.reference_values) {
    auto values = json::parse(*inputs.reference_values);
    if (!values) return values.error().in(config.reference_values->string());
    if (values->as_object() == nullptr) {
      return Error{Errc::configuration_invalid, config.reference_values->string() + ": an object of reference values expected"};
    }
    out.reference_values = *std::move(values);
  }
  return out;
}

/// What must not be so in production.
api::Monitor::Taints taints_of(const attestation::TrustAnchors& anchors, const Config& config) {
  api::Monitor::Taints out;
  const auto is_lab = [](const auto& anchor) { return anchor.kind() == attestation::AnchorKind::lab; };
  if (std::ranges::any_of(anchors.all(), is_lab)) out.push_back("trust: a lab root is trusted, so evidence may be simulated");
  if (config.key_broker && config.key_broker->sample_evidence) {
    out.push_back("key_broker: sample evidence is accepted, which proves nothing");
  }
  if (config.tee && config.tee->device == device::DeviceKind::lab_socket) {
    out.push_back("tee: the server's own evidence is a lab's: LAB ONLY - NOT HARDWARE");
  }
  return out;
}

Result<std::unique_ptr<device::TeeDevice>> open_device(const Tee& tee, device::Kernel& kernel, Random& random) {
  if (tee.socket) {
    auto socket = process::connect_to(*tee.socket);
    if (!socket) return socket.error().in(tee.socket->string());
    return std::unique_ptr<device::TeeDevice>{std::make_unique<device::LabSocketDevice>(*std::move(socket))};
  }
  CLOISTER_TRY(selected, device::select_device(tee.device, -1, kernel, random));
  return std::move(selected.device);
}

/// The keeper of the keys of that data directory, with new keys at the first start only: they open nothing of an old
/// database.
Result<std::unique_ptr<kms::Kms>> open_kms(const Config& config, Random& random) {
  const auto key = config.data / "master.key";
  std::error_code failure;
  const bool has_file = std::filesystem::exists(key, failure);
  const bool has_data = std::filesystem::exists(config.data / "cloister.db", failure);
  if (config.kms) {
    if (has_file) {
      return Error{Errc::configuration_invalid, "kms: what " + config.data.string() + " holds is sealed under " + key.string() +
                                                    ", which an HSM cannot take over by itself: set another `data`, or no `kms`, or move it "
                                                    "(cloisterd --move-keys-from file)"};
    }
    kms::Pkcs11Kms::Options options;
    options.make_keys = !has_data;
    CLOISTER_TRY(hsm, kms::Pkcs11Kms::open(*config.kms, options, random));
    return std::unique_ptr<kms::Kms>{std::move(hsm)};
  }
  if (!has_file && has_data) {
    return Error{Errc::configuration_invalid, key.string() + " is gone, and what " + config.data.string() +
                                                  " holds is sealed under it: put it back from your backup (or, where it "
                                                  "was an HSM's, set `kms`, or move it: --move-keys-from URI)"};
  }
  CLOISTER_TRY(software, kms::SoftwareKms::open(key, random));
  return std::unique_ptr<kms::Kms>{std::move(software)};
}

/// Everything that lives as long as the server, in the order in which it needs each other.
class Server {
 public:
  Server(const Config& config, log::Logger& logger) : config_{config}, logger_{logger} {}

  Result<void> open(Rollback rollback) {
    CLOISTER_CHECK(make_data_directory(config_.data));
    rego::Isolation::Options policies;
    policies.program = "/proc/self/exe";
    policies.arguments = {kEvaluatePolicies};
    CLOISTER_TRY(isolation, rego::Isolation::start(policies));
    isolation_ = std::move(isolation);
    CLOISTER_TRY(kms, open_kms(config_, random_));
    kms_ = std::move(kms);
    CLOISTER_TRY(keys, load_keys(*kms_, config_.data));
    keys_.emplace(std::move(keys));
    CLOISTER_TRY(database, storage::Database::open(config_.data / "cloister.db"));
    database_ = std::move(database);
    CLOISTER_CHECK(check_identity());
    CLOISTER_TRY(blobs, storage::BlobStore::open(config_.data / "blobs", storage::BlobStore::Limits{}));
    blobs_ = std::move(blobs);
    writes_ = std::make_unique<storage::WriteQueue>(*database_, kPoolQueue);
    CLOISTER_TRY(log, audit::Log::open(*database_, *kms_, random_, {config_.data / "audit-head.cbor", rollback == Rollback::accept},
                                        now()));
    log_ = std::move(log);
    CLOISTER_CHECK(kbs::check_agreement(*database_, *log_, rollback == Rollback::accept, now()));
    sealer_ = std::make_unique<storage::Sealer>(
        *kms_, random_, [this](storage::Transaction& transaction, const TenantId& tenant, std::string_view key) {
          return record_data_key(transaction, tenant, key);
        });
    CLOISTER_TRY(result_keys, keyring::Keyring::open({*database_, *sealer_, *log_, random_}, kResultLifetime, now()));
    result_keys_ = std::move(result_keys);
    revoked_ = std::make_unique<revocation::List>(revocation::List::Services{*database_, *log_, random_}, std::nullopt);
    CLOISTER_CHECK(revoked_->load());
    CLOISTER_TRY(inputs, read_inputs(config_));
    CLOISTER_TRY(anchors, anchors_of(config_, inputs));
    anchors_ = std::move(anchors);
    CLOISTER_CHECK(open_collateral());
    assemble(inputs.guest_mrtd);
    CLOISTER_CHECK(open_key_broker(inputs));
    CLOISTER_CHECK(open_tee(inputs));
    CLOISTER_CHECK(record_start(inputs));
    return make_admin_token();
  }

  Result<void> serve() {
    io_.start();
    CLOISTER_CHECK(fleet_->recover());
    http::ServerOptions options;
    options.address = config_.address;
    options.port = config_.port;
    options.limits.max_connections = config_.limits.connections;
    options.limits.max_pending = config_.limits.pending_requests;
    options.limits.requests_per_address = config_.limits.requests_per_second_per_address;
    options.limits.requests_per_token = config_.limits.requests_per_second_per_token;
    if (guests_) options.limits.max_header = kGuestHeader;
    options.limits.requests_per_group = config_.limits.requests_per_second_per_tenant;
    options.group_of = api::make_group_of(*services_);
    if (config_.tls_certificate) options.tls = http::TlsFiles{*config_.tls_certificate, *config_.tls_key};
    options.upload_directory = config_.data;
    options.authenticator = api::make_authenticator(*services_);
    options.handlers = strand_;
    options.metrics = [this](const http::RequestMetric& request) {
      monitor_->observe(request);
      count_refusal(request);
    };
    certificate_seen_ = certificate_times();
    auto listening = http::Server::listen(io_, std::move(options), api::make_router(*services_), logger_);
    if (!listening && listening.error().code() == Errc::io_error) {
      return Error{Errc::io_error, listening.error().detail() + " (stop what uses it, or set another `listen`)"};
    }
    if (!listening) return std::move(listening).error();
    const auto server = *std::move(listening);
    http_ = server.get();
    runtime::TaskGroup tasks{strand_, logger_, "server"};
    tasks.spawn("reconcile", fleet_->reconcile());
    tasks.spawn("beat", beat());
    tasks.spawn("housekeeping", housekeeping());
    tasks.spawn("reload", runtime::IoContext::on_signal(SIGHUP, [this, &server] { reload_certificate(*server); }));
    tasks.spawn("certificate", watch_certificate(server.get()));
    if (fetcher_) tasks.spawn("collateral", refresh_collateral());
    monitor_->serving();
    announce(server->base_url());
    auto signalled = runtime::block_on(io_, io_.wait_for_signal({SIGINT, SIGTERM}));
    monitor_->stopping();
    logger_.info("stopping", {{"signal", signalled ? *signalled : 0}});
    static_cast<void>(runtime::block_on(io_, runtime::run_on(strand_, stop_fleet())));
    runtime::block_on(io_, server->stop());
    runtime::block_on(io_, tasks.cancel_and_wait());
    isolation_->stop();
    // Work that its request has left may go on; what it uses is here until then.
    pool_.stop();
    readers_.stop();
    writes_->stop();
    proofs_.stop();
    guest_proofs_.stop();
    http_ = nullptr;
    // The refusals of a minute that is not over, and a head for what was committed since the last second.
    CLOISTER_CHECK(refusals_.flush(*database_, *log_, now() + std::chrono::minutes{1}));
    CLOISTER_TRY(head, log_->advance(now()));
    static_cast<void>(head);
    return {};
  }

 private:
  [[nodiscard]] UnixTime now() const { return clock_.now(); }

  /// Whoever comes without a token that is good for what they ask.
  void count_refusal(const http::RequestMetric& request) {
    if (api::counts_its_refusals(request.method, request.route)) return;
    if (request.status == 401) refusals_.note(Errc::unauthenticated, now());
    if (request.status == 403) refusals_.note(Errc::permission_denied, now());
  }

  /// What this start is decided by. Nothing is served that the log does not have.
  Result<void> record_start(const Inputs& inputs) {
    CLOISTER_TRY(transaction, database_->write());
    CLOISTER_CHECK(log_->append(transaction, start_leaf(config_, inputs, *keys_, anchors_, now())));
    return transaction.commit();
  }

  Result<void> record_data_key(storage::Transaction& transaction, const TenantId& tenant, std::string_view key) {
    const merkle::AuditLeaf leaf{now(), std::string{kDataKeyMade}, std::string{key}, {{"tenant", tenant.str()}}};
    return log_->append(transaction, leaf);
  }

  /// After a move of the keys the server is still who it was, or does not start.
  Result<void> check_identity() const {
    CLOISTER_TRY(snapshot, database_->read());
    const auto expected = storage::settings::get(snapshot, kIdentitySetting);
    if (!expected && expected.error().code() == Errc::not_found) return {};
    if (!expected) return expected.error();
    if (as_text(*expected) == keys_->server_id) return {};
    return Error{Errc::configuration_invalid, (config_.data / kIdentityFile).string() + ": it holds the keys of " + std::string{as_text(*expected)} +
                                                  ", and is not there or another's: restore it, or finish the move: --move-keys-from"};
  }

  Result<void> open_collateral() {
    if (config_.collateral_services) {
      CLOISTER_TRY(fetcher, CollateralFetcher::open(*config_.collateral_services, clock_, logger_));
      fetcher_ = std::move(fetcher);
    } else {
      CLOISTER_TRY(files, CollateralFiles::open(config_.collateral));
      collateral_ = std::move(files);
    }
    return {};
  }

  void assemble(const Digest48& mrtd) {
    monitor_ = std::make_unique<api::Monitor>(*database_, clock_, taints_of(anchors_, config_), [this] { return kms_->probe(); });
    for (const auto& taint : monitor_->taints()) logger_.warn("tainted", {{"setting", taint}});
    const std::vector<crypto::X25519Public> pinned{keys_->channel_current.public_key(),
                                                   keys_->channel_next.public_key()};
    challenge::Platform platform{mrtd, pinned, config_.tee.has_value()};
    registry_ = std::make_unique<challenge::Registry>(*database_, *blobs_, *log_, std::move(platform));
    sessions_ = std::make_unique<session::AttestedSessions>(*database_, *sealer_, *log_, random_, config_.session_lifetime);
    broker_ = std::make_unique<keybroker::Broker>(*database_, *sealer_, *kms_, *log_, random_);
    scheduler::JobService::Options jobs;
    jobs.lease = config_.lease;
    jobs.refusals = &refusals_;
    jobs_ = std::make_unique<scheduler::JobService>(*database_, *log_, random_, clock_, jobs);
    auto find = [this](const evidence::Quote& quote) {
      return fetcher_ ? fetcher_->find(quote) : collateral_->find(quote);
    };
    links::Attestor::Services attesting{*sessions_, pool_, clock_, logger_, &known_, revoked_.get()};
    if (config_.tee) attesting.prove = [this](ByteView nonce, const Digest32& hash) { return prove(nonce, hash); };
    attesting.proofs = &guest_proofs_;
    attestor_ = std::make_unique<links::Attestor>(std::move(attesting), find, anchors_, policy::Policy{});
    dispatcher_ = std::make_unique<scheduler::Dispatcher>(*jobs_, pool_, clock_, logger_);
    tokens_ = std::make_unique<session::OperatorTokens>(crypto::Ed25519Key::from_seed(keys_->token.seed().clone()),
                                                        keys_->server_id);
    strand_ = io_.strand();
    fleet::Fleet::Options fleet;
    fleet.server_id = keys_->server_id;
    fleet.keys = {&keys_->channel_current, &keys_->channel_next};
    fleet.host_token = [this](const ValidatorId& validator) { return host_token(validator); };
    fleet_ = std::make_unique<fleet::Fleet>(
        fleet::Fleet::Services{*database_, *registry_, *attestor_, *broker_, *jobs_, *dispatcher_, refusals_, pool_,
                               clock_, random_, logger_},
        std::move(fleet), strand_);
    services_.emplace(api::Services{*database_, *blobs_, *log_, *registry_, *broker_, *jobs_, *dispatcher_, *fleet_,
                                    *tokens_, *result_keys_, *revoked_, pool_, readers_, clock_, random_, *monitor_, logger_, anchors_, find,
                                    keys_->server_id, CLOISTER_VERSION});
    services_->cache = &known_;
    services_->endorsements = [this](const evidence::SnpReport& report, const evidence::SnpEndorsements& known) {
      return fetcher_ ? fetcher_->find(report, known) : collateral_->find(report, known);
    };
    services_->fetches = fetcher_ != nullptr;
  }

  Result<void> open_key_broker(const Inputs& inputs) {
    if (!config_.key_broker) return {};
    CLOISTER_TRY(options, broker_options(*config_.key_broker, inputs, keys_->server_id));
    verdict::Sources sources;
    sources.collateral = [this](const evidence::Quote& quote) -> Result<verdict::DocumentsPtr> {
      CLOISTER_TRY(found, services_->collateral(quote));
      return documents_.of(std::move(found));
    };
    sources.endorsements = services_->endorsements;
    sources.remote = services_->fetches;
    kbs::Services services{*database_, *writes_, *sealer_, *log_, refusals_, *result_keys_, anchors_, std::move(sources),
                           keys_->guest_sessions, random_, *revoked_, guest_meters_, guest_inputs_, &known_};
    CLOISTER_TRY(guests, kbs::Brokers::open(std::move(services), std::move(options)));
    guests_ = std::move(guests);
    services_->guests = guests_.get();
    services_->protocol_administration = config_.key_broker->protocol_administration;
    services_->secure_cookies = config_.tls_certificate.has_value();
    return {};
  }

  /// Measures the configuration, so that what the server shows of itself says which one it runs with.
  Result<void> open_tee(const Inputs& inputs) {
    if (!config_.tee) return {};
    const auto& tee = *config_.tee;
    if (tee.collateral) {
      CLOISTER_TRY(files, CollateralFiles::open(*tee.collateral));
      own_collateral_ = std::move(files);
    }
    prover::Machine machine;
    machine.open = [this] { return open_device(*config_.tee, kernel_, random_); };
    machine.collateral = [this](const evidence::Quote& quote) -> Result<std::string> {
      CLOISTER_TRY(found, own_collateral_ ? own_collateral_->find(quote) : services_->collateral(quote));
      return evidence::write_quote_collateral(found);
    };
    protocol::ServerIdentity identity;
    identity.server_id = keys_->server_id;
    identity.channel_keys = {keys_->channel_current.public_key(), keys_->channel_next.public_key()};
    identity.audit_key = keys_->audit;
    identity.configuration_digest = inputs.configuration_digest();
    auto prover = prover::Prover::open(std::move(machine), std::move(identity));
    if (!prover) return prover.error().in("tee");
    prover_ = *std::move(prover);
    services_->proofs = &proofs_;
    services_->prove = [this](ByteView nonce) { return prove(nonce, {}); };
    logger_.info("tee", {{"device", device::to_string(tee.device)}, {"configuration", codec::to_hex(inputs.configuration_digest())}});
    return {};
  }

  /// The TLS key is the one that connections are served with now: a client whose connection is an older one asks again.
  [[nodiscard]] Result<protocol::ServerProof> prove(ByteView nonce, const std::optional<Digest32>& handshake_hash) {
    const http::Server* const server = http_;
    const auto tls_key = server == nullptr ? std::nullopt : server->tls_key();
    if (config_.tls_certificate && !tls_key) return Error{Errc::unavailable, "the server does not serve TLS yet"};
    return prover_->prove(nonce, handshake_hash, tls_key);
  }

  [[nodiscard]] std::string host_token(const ValidatorId& validator) {
    const auto tenant = TenantId::parse("system");
    return tokens_->issue({random_id("tok", random_), validator.str(), *tenant, std::string{session::kHostRole}, now(),
                           now() + kHostLifetime});
  }

  [[nodiscard]] std::filesystem::path admin_token_file() const { return config_.data / "admin.token"; }

  [[nodiscard]] bool has_admin_token() const {
    std::ifstream in(admin_token_file());
    std::string token;
    return std::getline(in, token) && tokens_->verify(token, now()).ok();
  }

  /// The first start makes the administrator's token; later ones leave it as it is until it has expired.
  Result<void> make_admin_token() {
    if (has_admin_token()) return restrict_admin_token();
    const auto tenant = TenantId::parse(api::kServerTenant);
    const session::OperatorClaims claims{random_id("tok", random_), "admin", *tenant, std::string{session::kAdminRole},
                                         now(), now() + kAdminLifetime};
    CLOISTER_TRY(token, api::issue_token(*database_, *log_, *tokens_, claims, "first-start"));
    CLOISTER_CHECK(write_private(admin_token_file(), token + "\n"));
    logger_.info("admin_token.made", {{"file", admin_token_file().string()}});
    return {};
  }

  /// What others could read is closed to them, and said: who has read it, nobody knows.
  Result<void> restrict_admin_token() {
    namespace fs = std::filesystem;
    std::error_code failure;
    const auto mode = fs::status(admin_token_file(), failure).permissions();
    if (!failure && (mode & (fs::perms::group_all | fs::perms::others_all)) == fs::perms::none) return {};
    if (!failure) fs::permissions(admin_token_file(), fs::perms::owner_read | fs::perms::owner_write, failure);
    if (failure) return Error{Errc::io_error, admin_token_file().string() + ": " + failure.message()};
    logger_.warn("admin_token.was_open", {{"file", admin_token_file().string()},
                                          {"remedy", "others could read it: revoke it, and issue another"}});
    return {};
  }

  void announce(const std::string& url) {
    const json::Value line = json::Object{{"event", "ready"},
                                          {"url", url},
                                          {"server_id", keys_->server_id},
                                          {"admin_token_file", admin_token_file().string()}};
    std::printf("%s\n", json::write(line).c_str());
    std::fflush(stdout);
    logger_.info("serving", {{"url", url}, {"server_id", keys_->server_id}});
  }

  /// On the strand of the fleet; the value is there because `run_on` carries one.
  Task<bool> stop_fleet() {
    co_await fleet_->shut_down();
    co_return true;
  }

  using FileTimes = std::array<std::filesystem::file_time_type, 2>;
  [[nodiscard]] FileTimes certificate_times() const {
    std::error_code absent;  // a file that is being replaced: looked at again
    if (!config_.tls_certificate) return {};
    return {std::filesystem::last_write_time(*config_.tls_certificate, absent),
            std::filesystem::last_write_time(*config_.tls_key, absent)};
  }

  void reload_certificate(http::Server& server) {
    if (!config_.tls_certificate) return;
    certificate_seen_ = certificate_times();
    const auto done = server.reload_tls();
    if (done) return logger_.info("certificate.reloaded", {{"file", config_.tls_certificate->string()}});
    logger_.error("certificate.kept", {{"detail", done.error().text() + "; the certificate before it stays in use"}});
  }

  /// Whoever renews the certificate needs to tell nobody.
  Task<void> watch_certificate(http::Server* server) {
    for (;;) {
      auto slept = co_await runtime::sleep_for(kCertificateEvery);
      if (!slept) co_return;
      if (certificate_times() != certificate_seen_) reload_certificate(*server);
    }
  }

  /// The loop goes round, whatever the storage does.
  Task<void> beat() {
    for (;;) {
      monitor_->beat();
      auto slept = co_await runtime::sleep_for(std::chrono::seconds{1});
      if (!slept) co_return;
    }
  }

  /// Ahead of its end, so that no verification waits for it.
  Task<void> refresh_collateral() {
    for (;;) {
      auto work = [this] { return fetcher_->refresh(); };
      auto failures = co_await pool_.run(std::move(work));
      if (!failures) logger_.error("collateral.not_refreshed", {{"detail", failures.error().text()}});
      auto slept = co_await runtime::sleep_for(kCollateralEvery);
      if (!slept) co_return;
    }
  }

  /// Once a second: leases and deadlines that are over, the audit log's head, refusals of strangers, old nonces
  /// and sessions.
  Task<void> housekeeping() {
    for (;;) {
      // Whoever waits for what has ended is told also where nothing after it works, as while an HSM is gone.
      auto ending = [this] { return jobs_->tick(now()); };
      auto ended = co_await pool_.run(std::move(ending));
      if (!ended) {
        logger_.error("housekeeping.failed", {{"detail", ended.error().text()}});
      } else {
        dispatcher_->lost(ended->lost);
        for (const auto& attempt : ended->attempts) dispatcher_->cancel(attempt);
      }
      auto sweeping = [this] { return sweep(); };
      auto swept = co_await pool_.run(std::move(sweeping));
      if (!swept) logger_.error("housekeeping.failed", {{"detail", swept.error().text()}});
      auto slept = co_await runtime::sleep_for(std::chrono::seconds{1});
      if (!slept) co_return;
    }
  }

  Result<void> sweep() {
    CLOISTER_CHECK(refusals_.flush(*database_, *log_, now()));
    {
      CLOISTER_TRY(transaction, database_->write());
      CLOISTER_TRY(swept, storage::nonces::sweep(transaction, now()));
      CLOISTER_TRY(ended_sessions, storage::broker_sessions::sweep(transaction, now()));
      CLOISTER_TRY(ended_revocations, storage::revocations::sweep(transaction, now()));
      if (swept + ended_sessions + ended_revocations > 0) CLOISTER_CHECK(transaction.commit());
    }
    const auto head = log_->advance(now());
    return head ? Result<void>{} : Result<void>{head.error()};
  }

  const Config& config_;
  log::Logger& logger_;
  SystemClock clock_;
  SystemRandom random_;
  FileTimes certificate_seen_{};  // on the strand
  std::unique_ptr<kms::Kms> kms_;
  std::optional<ServerKeys> keys_;
  std::unique_ptr<storage::Database> database_;
  std::unique_ptr<storage::Sealer> sealer_;
  std::unique_ptr<storage::BlobStore> blobs_;
  std::unique_ptr<audit::Log> log_;
  std::unique_ptr<storage::WriteQueue> writes_;
  std::unique_ptr<keyring::Keyring> result_keys_;
  std::unique_ptr<revocation::List> revoked_;  // of all tenants
  kbs::Meters guest_meters_;
  rego::RecentInputs guest_inputs_{std::size_t{4} << 20};
  std::unique_ptr<rego::Isolation> isolation_;
  audit::Refusals refusals_;
  std::unique_ptr<CollateralFiles> collateral_;  // this, or the fetcher
  std::unique_ptr<CollateralFetcher> fetcher_;
  std::unique_ptr<CollateralFiles> own_collateral_;  // of the TEE that the server runs in; may be null
  device::LinuxKernel kernel_;
  std::unique_ptr<prover::Prover> prover_;  // null: no TEE
  std::atomic<const http::Server*> http_ = nullptr;
  attestation::TrustAnchors anchors_;
  runtime::IoContext io_{1};
  runtime::BlockingPool pool_{kPoolThreads, kPoolQueue};
  runtime::BlockingPool readers_{kReaderThreads, kPoolQueue};
  runtime::BlockingPool proofs_{1, kProofQueue};  // of the server's own evidence, for whoever asks
  runtime::BlockingPool guest_proofs_{1, kGuestProofQueue};  // for instances, whom nobody who asks over HTTP keeps waiting
  runtime::Executor strand_;
  std::unique_ptr<challenge::Registry> registry_;
  std::unique_ptr<session::AttestedSessions> sessions_;
  std::unique_ptr<keybroker::Broker> broker_;
  std::unique_ptr<scheduler::JobService> jobs_;
  attestation::VerificationCache known_{random_};
  std::unique_ptr<links::Attestor> attestor_;
  std::unique_ptr<scheduler::Dispatcher> dispatcher_;
  std::unique_ptr<session::OperatorTokens> tokens_;
  std::unique_ptr<fleet::Fleet> fleet_;
  std::unique_ptr<api::Monitor> monitor_;
  std::optional<api::Services> services_;
  verdict::RecentDocuments documents_;
  std::unique_ptr<kbs::Brokers> guests_;
};

}  // namespace

int evaluate_policies() { return rego::serve_evaluations(3); }

Result<void> run(const Config& config, log::Logger& logger, Rollback rollback) {
  Server server{config, logger};
  CLOISTER_CHECK(server.open(rollback));
  return server.serve();
}

Result<void> show_keys(const Config& config) {
  CLOISTER_CHECK(make_data_directory(config.data));
  SystemRandom random;
  CLOISTER_TRY(kms, open_kms(config, random));
  CLOISTER_TRY(keys, load_keys(*kms, config.data));
  CLOISTER_TRY(inputs, read_inputs(config));
  const json::Value out = json::Object{
      {"server_id", keys.server_id},
      {"server_keys", json::Array{codec::to_hex(keys.channel_current.public_key()),
                                  codec::to_hex(keys.channel_next.public_key())}},
      {"audit_keys", json::Array{codec::to_hex(keys.audit)}},
      {"configuration_digest", "sha256:" + codec::to_hex(inputs.configuration_digest())}};
  std::printf("%s\n", json::write(out).c_str());
  return {};
}

}  // namespace cloister::server
