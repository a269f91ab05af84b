#include "system.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>

#include "cloister/builder/builder.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "files.hpp"
#include "keys.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::chrono::seconds kStartTimeout{20};
constexpr std::chrono::milliseconds kStopGrace{3000};
constexpr std::size_t kMaxLine = 64 * 1024;
constexpr std::size_t kMaxTokenFile = 16 * 1024;

Result<fs::path> program_beside(std::string_view name, const fs::path& folder) {
  const auto path = folder / name;
  std::error_code failure;
  if (fs::exists(path, failure)) return path;
  return Error{Errc::not_found, path.string() + " is missing; scripts/demo builds it"};
}

/// One line from a pipe.
Result<std::string> read_line(int fd, Deadline deadline) {
  std::string line;
  for (;;) {
    CLOISTER_CHECK(process::wait_for(fd, POLLIN, deadline));
    char c = 0;
    const auto n = ::read(fd, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{Errc::peer_closed, "it ended before it was ready"};
    if (c == '\n') return line;
    line += c;
    if (line.size() > kMaxLine) return Error{Errc::limit_exceeded, "its first line is too long"};
  }
}

/// The last lines of a log, to say why a process ended.
std::string tail_of(const fs::path& log) {
  std::ifstream in(log);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto trimmed = text.find_last_not_of('\n');
  if (trimmed == std::string::npos) return {};
  const auto line = text.rfind('\n', trimmed);
  return text.substr(line == std::string::npos ? 0 : line + 1, trimmed - (line == std::string::npos ? 0 : line));
}

std::string member(const json::Value& value, std::string_view name) {
  const auto* found = value.find(name);
  return found == nullptr || found->as_string() == nullptr ? "" : *found->as_string();
}

}  // namespace

Result<Programs> find_programs() {
  std::error_code failure;
  const auto self = fs::read_symlink("/proc/self/exe", failure);
  if (failure) return Error{Errc::io_error, "/proc/self/exe cannot be read"};
  const auto folder = self.parent_path();
  CLOISTER_TRY(server, program_beside("cloisterd", folder));
  CLOISTER_TRY(guest, program_beside("cloister-guest", folder));
  CLOISTER_TRY(keyword_search, program_beside("keyword-search", folder));
  return Programs{self, std::move(server), std::move(guest), std::move(keyword_search)};
}

Result<System> System::make(const fs::path& data, std::uint16_t port) {
  CLOISTER_TRY(programs, find_programs());
  std::error_code failure;
  fs::create_directories(data / "logs", failure);
  if (failure) return Error{Errc::io_error, data.string() + ": " + failure.message()};
  return System{std::move(programs), fs::absolute(data), port};
}

System::~System() {
  // In reverse, so that each still finds what it says goodbye to.
  while (!parts_.empty()) {
    static_cast<void>(parts_.back().process.stop(kStopGrace));
    parts_.pop_back();
  }
}

Result<std::string> System::start(std::string name, const fs::path& program, std::vector<std::string> arguments,
                                  bool stays) {
  const auto log = logs() / (name + ".log");
  const process::UniqueFd log_file{::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  if (!log_file.valid()) return process::errno_error(log.string());
  CLOISTER_TRY(pipe, process::pipe_pair());
  process::Command command;
  command.program = program;
  command.arguments = std::move(arguments);
  command.environment = {"PATH=/usr/local/bin:/usr/bin:/bin"};
  command.descriptors = {{pipe.second.get(), STDOUT_FILENO}, {log_file.get(), STDERR_FILENO}};
  CLOISTER_TRY(child, process::ChildProcess::start(command));
  pipe.second.reset();
  const SystemClock clock;
  auto line = read_line(pipe.first.get(), Deadline::after(clock, kStartTimeout));
  if (!line) {
    child.signal(SIGKILL);
    const auto why = tail_of(log);
    return Error{line.error().code(), name + ": " + (why.empty() ? line.error().detail() : why) + " (log: " + log.string() + ")"};
  }
  if (stays) parts_.push_back({std::move(name), std::move(child)});
  return line;
}

Result<std::string> System::start_platform(bool beside_tee) {
  std::vector<std::string> arguments{"lab", "platform", "--state", (data_ / "platform").string()};
  if (beside_tee) arguments.emplace_back("--beside-tee");
  CLOISTER_TRY(line, start("platform", programs_.cloister, std::move(arguments), true));
  CLOISTER_TRY(ready, json::parse(line));
  control_socket_ = member(ready, "control");
  collateral_ = member(ready, "collateral");
  CLOISTER_TRY(root, read_file(member(ready, "root"), kMaxLine));
  root_pem_ = as_text(root);
  CLOISTER_TRY(chain, crypto::x509::parse_chain(root_pem_));
  trust_.lab_roots = {chain.front()};
  CLOISTER_TRY(hotkey, load_or_make_hotkey(data_ / "hotkey"));
  hotkey_ = hotkey.public_key();
  return member(ready, "sandbox");
}

Result<void> System::start_server_tee(bool beside_tee) {
  std::vector<std::string> arguments{"lab", "device", "--state", (data_ / "server-tee").string(), "--socket",
                                     (data_ / "server-tee.sock").string(), "--program", programs_.server.string()};
  if (beside_tee) arguments.emplace_back("--beside-tee");
  CLOISTER_TRY(line, start("server-tee", programs_.cloister, std::move(arguments), true));
  CLOISTER_TRY(ready, json::parse(line));
  tee_socket_ = member(ready, "socket");
  tee_collateral_ = member(ready, "collateral");
  CLOISTER_TRY(root, read_file(member(ready, "root"), kMaxLine));
  CLOISTER_TRY(chain, crypto::x509::parse_chain(as_text(root)));
  trust_.lab_roots.push_back(chain.front());
  // From the program itself: the lab's word is not what a reference value comes from.
  CLOISTER_TRY(mrtd, builder::guest_mrtd(programs_.server));
  server_mrtd_ = mrtd;
  if (codec::to_hex(mrtd) == member(ready, "mrtd")) return {};
  return Error{Errc::measurement_mismatch, "server-tee: the lab measured another program than " + programs_.server.string()};
}

Result<void> System::write_configuration() {
  policy::TrustFile server_trust;
  server_trust.lab_roots = {trust_.lab_roots.front()};  // of the platform that guests run on
  CLOISTER_CHECK(write_file(data_ / "server-trust.json", policy::write_trust_file(server_trust), Readers::everyone));
  const auto quoted = [](const fs::path& path) { return json::write(json::Value{path.string()}); };  // also TOML's form
  const auto tee = tee_socket_.empty() ? std::string{}
                                       : "[tee]\ndevice = \"lab-socket\"\nsocket = " + quoted(tee_socket_) +
                                             "\ncollateral = " + quoted(tee_collateral_) + "\n";
  const auto text = "data = \"server\"\nlisten = \"127.0.0.1:" + std::to_string(port_) +
                    "\"\nguest = " + quoted(programs_.guest) + "\ncollateral = " + quoted(collateral_) +
                    "\ntrust = \"server-trust.json\"\n" + tee;
  return write_file(data_ / "cloisterd.toml", text, Readers::everyone);
}

Result<void> System::learn_server_keys() {
  CLOISTER_CHECK(write_configuration());
  CLOISTER_TRY(line, start("server-keys", programs_.server,
                           {"--config", (data_ / "cloisterd.toml").string(), "--show-keys"}, false));
  CLOISTER_TRY(keys, json::parse(line));
  const auto read = [&](std::string_view name, std::vector<ByteArray<32>>& into) -> Result<void> {
    const auto* list = keys.find(name);
    if (list == nullptr || list->as_array() == nullptr) return Error{Errc::malformed, "the server's keys expected"};
    into.clear();
    for (const auto& item : *list->as_array()) {
      CLOISTER_TRY(key, codec::array_from_hex<32>(item.as_string() == nullptr ? "" : *item.as_string()));
      into.push_back(key);
    }
    return {};
  };
  CLOISTER_CHECK(read("server_keys", trust_.server_keys));
  CLOISTER_CHECK(read("audit_keys", trust_.audit_keys));
  if (tee_socket_.empty()) return {};
  CLOISTER_TRY(digest, model::parse_digest(member(keys, "configuration_digest")));
  trust_.server_reference_values = {{server_mrtd_, {}, digest}};
  return {};
}

Result<void> System::start_server() {
  CLOISTER_TRY(line, start("server", programs_.server, {"--config", (data_ / "cloisterd.toml").string()}, true));
  CLOISTER_TRY(ready, json::parse(line));
  url_ = member(ready, "url");
  admin_token_file_ = member(ready, "admin_token_file");
  return {};
}

Result<std::string> System::admin_token() const {
  CLOISTER_TRY(bytes, read_file(admin_token_file_, kMaxTokenFile));
  std::string token{as_text(bytes)};
  token.erase(std::ranges::find(token, '\n'), token.end());
  return token;
}

Result<void> System::start_validator() {
  CLOISTER_TRY(line, start("validator", programs_.cloister,
                           {"validator", "run", "--server", url_, "--platform", control_socket_.string(), "--guest",
                            programs_.guest.string(), "--hotkey", (data_ / "hotkey").string(), "--data",
                            (data_ / "validator").string()},
                           true));
  static_cast<void>(line);
  return {};
}

std::string System::ended() {
  for (auto& part : parts_) {
    if (part.process.poll()) return part.name;
  }
  return {};
}

}  // namespace cloister::cli
