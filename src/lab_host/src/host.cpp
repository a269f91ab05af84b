#include "cloister/lab_host/host.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <vector>

#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/device/select.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/process/unix_socket.hpp"
#include "running_td.hpp"
#include "state.hpp"

namespace cloister::lab_host {
namespace {

namespace fs = std::filesystem;

constexpr int kPollMilliseconds = 60'000;

/// What a descriptor in the loop belongs to; `key` is of a connection or a TD.
enum class Source { stop, listener, connection, tee, console, life, exit };
struct Watch {
  Source source;
  std::uint64_t key;
};

/// Of a file that is replaced, never written to. Zero: none is there.
struct FileVersion {
  ino_t inode = 0;
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};
FileVersion version_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

}  // namespace

class Host::Impl {
 public:
  Impl(HostOptions options, State state, process::Sandbox sandbox, process::UniqueFd listener, const Clock& clock,
       Random& random, log::Logger& logger)
      : options_{std::move(options)},
        state_{std::move(state)},
        machine_{state_.platform.start()},
        sandbox_{std::move(sandbox)},
        listener_{std::move(listener)},
        clock_{clock},
        random_{random},
        logger_{logger} {}
  ~Impl() { ::unlink((options_.state / kControlSocket).c_str()); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> run(int stop_fd) {
    for (;;) {
      CLOISTER_CHECK(renew_collateral());
      watch(stop_fd);
      const int ready = ::poll(polled_.data(), polled_.size(), kPollMilliseconds);
      if (ready < 0 && errno != EINTR) return process::errno_error("poll");
      if (ready <= 0) continue;
      for (std::size_t i = 0; i < polled_.size(); ++i) {
        if (polled_[i].revents == 0) continue;
        if (watched_[i].source == Source::stop) return {};
        handle(watched_[i], polled_[i].revents);
      }
    }
  }

  /// When it grows old, or when a command has changed the platform's story.
  Result<void> renew_collateral() {
    const auto now = clock_.now();
    const bool fresh = issued_ && now >= *issued_ && now - *issued_ < kCollateralAge;
    const auto changed = version_of(options_.state / kStoryFile);
    if (fresh && changed == story_changed_) return {};
    CLOISTER_TRY(lock, take_story_lock(options_.state));
    const auto story = read_story(options_.state, state_.platform.created());
    if (!story && issued_) {  // what was issued stands until the story can be read again
      if (changed != story_changed_) logger_.warn("lab_host_story_broken", {{"error", story.error().text()}});
      story_changed_ = changed;
      return {};
    }
    if (!story) return story.error();
    take_over_module(*story);
    const auto time = lab_time(*story, clock_);
    CLOISTER_TRY(issued, issue_collateral(options_.state, state_.platform, *story, time));
    collateral_ = std::move(issued);
    issued_ = now;
    story_changed_ = changed;
    return {};
  }

  [[nodiscard]] const fs::path& directory() const noexcept { return options_.state; }
  [[nodiscard]] const process::Sandbox& sandbox() const noexcept { return sandbox_; }

 private:
  /// The module is what can be updated under the TDs; for the rest the platform starts again.
  void take_over_module(const lab::TcbStory& story) {
    const auto module = state_.platform.with(options_of(story)).module();
    if (module == machine_->module.info()) return;
    const auto status = machine_->update_module(module);
    const std::string text{lab::tdx::to_string(status.code())};
    logger_.info("lab_host_module_updated", {{"status", text}, {"lab", true}});
  }

  void add_watch(int fd, short events, Source source, std::uint64_t key) {
    polled_.push_back({.fd = fd, .events = events, .revents = 0});
    watched_.push_back({.source = source, .key = key});
  }

  /// A socket is read only while it has taken every answer before.
  static short interest(const process::FrameSocket& socket) { return socket.wants_write() ? POLLOUT : POLLIN; }

  void watch(int stop_fd) {
    polled_.clear();
    watched_.clear();
    add_watch(stop_fd, POLLIN, Source::stop, 0);
    if (connections_.size() < options_.max_connections) add_watch(listener_.get(), POLLIN, Source::listener, 0);
    for (const auto& [key, socket] : connections_) add_watch(socket.fd(), interest(socket), Source::connection, key);
    for (auto& [key, td] : tds_) {
      add_watch(td.process().exit_fd(), POLLIN, Source::exit, key);
      if (td.tee().open()) add_watch(td.tee().fd(), interest(td.tee()), Source::tee, key);
      if (td.life().open()) add_watch(td.life().fd(), POLLIN, Source::life, key);
      if (td.console_fd() >= 0) add_watch(td.console_fd(), POLLIN, Source::console, key);
    }
  }

  void handle(const Watch& watch, short events) {
    if (watch.source == Source::listener) return accept_connection();
    if (watch.source == Source::connection) {
      const auto found = connections_.find(watch.key);
      if (found != connections_.end() && !serve_connection(found->second, events)) connections_.erase(found);
      return;
    }
    const auto found = tds_.find(watch.key);
    if (found == tds_.end()) return;  // ended earlier in this round
    auto& td = found->second;
    if (watch.source == Source::tee && !serve_tee(td, events)) td.tee().close();
    if (watch.source == Source::console) log_console(td);
    if (watch.source == Source::life) {
      // Its starter let go of it, or sent what it never should.
      td.life().close();
      td.process().signal(SIGKILL);
    }
    if (watch.source == Source::exit) finish(found);
  }

  void accept_connection() {
    auto socket = process::accept_from(listener_.get());
    if (!socket) return logger_.warn("lab_host_accept", {{"error", socket.error().text()}});
    if (!socket->valid()) return;
    const auto peer = process::peer_credentials(socket->get());
    if (!peer || peer->uid != ::geteuid()) return logger_.warn("lab_host_stranger", {});
    connections_.emplace(++last_key_, process::FrameSocket{std::move(*socket), provider::kHostRequestLimits});
  }

  /// False when the connection is over.
  bool serve_connection(process::FrameSocket& socket, short events) {
    if ((events & POLLOUT) != 0) return socket.flush().ok();
    auto frame = socket.try_receive();
    if (!frame) {
      if (frame.error().code() != Errc::peer_closed) {
        logger_.warn("lab_host_request_broken", {{"error", frame.error().text()}});
      }
      return false;
    }
    if (*frame) answer(socket, std::move(**frame));
    return socket.flush().ok();
  }

  void answer(process::FrameSocket& socket, process::Frame frame) {
    auto request = provider::decode_host_request(frame.payload);
    if (request && !std::holds_alternative<provider::StartTd>(*request) && !frame.descriptors.empty()) {
      request = Error{Errc::invalid_argument, "no descriptors expected"};
    }
    if (!request) return socket.queue(provider::encode_host_error(request.error()));
    if (auto* const start = std::get_if<provider::StartTd>(&*request)) {
      return answer_start(socket, std::move(*start), std::move(frame.descriptors));
    }
    if (const auto* const stop = std::get_if<provider::StopTd>(&*request)) {
      const auto stopped = stop_td(stop->id);
      return socket.queue(stopped ? provider::encode_stop_answer() : provider::encode_host_error(stopped.error()));
    }
    if (std::holds_alternative<provider::ListTds>(*request)) {
      std::vector<std::string> ids;
      for (const auto& [key, td] : tds_) ids.push_back(td.id());
      return socket.queue(provider::encode_list_answer(ids));
    }
    const auto renewed = renew_collateral();
    if (!renewed) return socket.queue(provider::encode_host_error(renewed.error()));
    socket.queue(provider::encode_collateral_answer({.root_pem = state_.root_pem, .collateral_json = collateral_}));
  }

  void answer_start(process::FrameSocket& socket, provider::StartTd request,
                    std::vector<process::UniqueFd> descriptors) {
    auto started = start_td(std::move(request), std::move(descriptors));
    if (!started) {
      logger_.warn("td_start_failed", {{"error", started.error().text()}});
      return socket.queue(provider::encode_host_error(started.error()));
    }
    std::vector<process::UniqueFd> ends;
    ends.push_back(std::move(started->second.stream));
    ends.push_back(std::move(started->second.life));
    socket.queue(provider::encode_start_answer(started->first), std::move(ends));
  }

  Result<std::pair<provider::TdStarted, TdEnds>> start_td(provider::StartTd request,
                                                          std::vector<process::UniqueFd> descriptors) {
    if (tds_.size() >= options_.max_tds) {
      return Error{Errc::overloaded, "platform: " + std::to_string(options_.max_tds) + " TDs run"};
    }
    CLOISTER_TRY(sealed, seal(std::move(request), std::move(descriptors), options_.max_blob_bytes));
    auto id = random_id("td", random_);
    const auto scratch = options_.state / kScratchFolder / id;
    const Silicon silicon{state_.platform, machine_, options_.quote_format};
    CLOISTER_TRY(started, RunningTd::start(id, sealed, silicon, sandbox_, scratch));
    provider::TdStarted answer{.id = std::move(id), .mrtd = started.first.mrtd()};
    logger_.info("td_started", {{"td", answer.id}, {"mrtd", codec::to_hex(answer.mrtd)}, {"lab", true}});
    tds_.emplace(++last_key_, std::move(started.first));
    return std::pair{std::move(answer), std::move(started.second)};
  }

  Result<void> stop_td(const std::string& id) {
    const auto found = std::ranges::find_if(tds_, [&](const auto& entry) { return entry.second.id() == id; });
    if (found == tds_.end()) return Error{Errc::not_found, "no TD " + id};
    found->second.process().signal(SIGKILL);
    return {};
  }

  /// One request at a time, so that no TD keeps the loop for itself. False when the socket is over.
  bool serve_tee(RunningTd& td, short events) {
    if ((events & POLLOUT) != 0) return td.tee().flush().ok();
    auto frame = td.tee().try_receive();
    if (!frame) {
      if (frame.error().code() != Errc::peer_closed) {
        logger_.warn("td_tee_broken", {{"td", td.id()}, {"error", frame.error().text()}});
      }
      return false;
    }
    if (!*frame) return true;
    td.tee().queue(td.answer((*frame)->payload));
    return td.tee().flush().ok();
  }

  void log_console(RunningTd& td) {
    td.read_console();
    for (const auto& line : td.take_lines()) logger_.debug("td_console", {{"td", td.id()}, {"text", line}});
  }

  void finish(std::map<std::uint64_t, RunningTd>::iterator entry) {
    auto& td = entry->second;
    const auto status = td.process().poll();
    if (!status) return;
    while (td.read_console()) {
    }
    log_console(td);
    td.life().queue(provider::encode_exit({.status = *status, .console = td.console_tail()}));
    if (td.life().open()) (void)td.life().flush();  // fits into the socket's buffer; nobody is owed a second try
    logger_.info("td_ended", {{"td", td.id()}, {"status", status->text()}});
    tds_.erase(entry);
  }

  HostOptions options_;
  State state_;
  std::shared_ptr<lab::tdx::Machine> machine_;
  process::Sandbox sandbox_;
  process::UniqueFd listener_;
  const Clock& clock_;
  Random& random_;
  log::Logger& logger_;
  std::string collateral_;
  std::optional<UnixTime> issued_;
  FileVersion story_changed_;
  std::uint64_t last_key_ = 0;
  std::map<std::uint64_t, process::FrameSocket> connections_;
  std::map<std::uint64_t, RunningTd> tds_;
  std::vector<pollfd> polled_;
  std::vector<Watch> watched_;
};

Result<Host> Host::open(HostOptions options, process::Sandbox sandbox, const Clock& clock, Random& random,
                        log::Logger& logger) {
  device::LinuxKernel kernel;
  if (const auto alone = device::refuse_lab_beside_tee(kernel); !alone) {
    if (!options.beside_tee) return alone.error();
    logger.warn("lab_platform_beside_tee", {{"detail", alone.error().detail()}, {"lab", true}});
  }
  std::error_code failed;
  options.state = fs::absolute(options.state, failed);
  if (failed) return Error{Errc::io_error, options.state.string() + ": " + failed.message()};
  CLOISTER_TRY(state, open_state(options.state, clock, random));
  const auto scratch = options.state / kScratchFolder;
  fs::remove_all(scratch, failed);  // what a platform that was killed left
  fs::create_directory(scratch, failed);
  if (failed) return Error{Errc::io_error, scratch.string() + ": " + failed.message()};
  CLOISTER_TRY(listener, process::listen_at(options.state / kControlSocket));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(state), std::move(sandbox), std::move(listener),
                                     clock, random, logger);
  CLOISTER_CHECK(impl->renew_collateral());
  return Host{std::move(impl)};
}

Host::Host(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Host::Host(Host&&) noexcept = default;
Host& Host::operator=(Host&&) noexcept = default;
Host::~Host() = default;

Result<void> Host::run(int stop_fd) { return impl_->run(stop_fd); }
fs::path Host::control_socket() const { return impl_->directory() / kControlSocket; }
fs::path Host::root_file() const { return impl_->directory() / kRootFile; }
fs::path Host::collateral_file() const { return impl_->directory() / kCollateralFile; }
const process::Sandbox& Host::sandbox() const noexcept { return impl_->sandbox(); }

}  // namespace cloister::lab_host
