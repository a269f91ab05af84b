#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "cloister/http/client.hpp"
#include "cloister/http/server.hpp"
#include "cloister/runtime/event.hpp"
#include "cloister/runtime/task_group.hpp"
#include "support/support.hpp"

namespace cloister::http::test {

using runtime::Task;
using std::chrono::milliseconds;
constexpr std::chrono::seconds kLong{30};

inline Deadline soon() { return Deadline{std::chrono::steady_clock::now() + milliseconds{50}}; }
inline Deadline far() { return Deadline{std::chrono::steady_clock::now() + kLong}; }

/// A blocking socket to a server on loopback, for what a well-behaved client does not do.
class RawPeer {
 public:
  explicit RawPeer(std::uint16_t port) : fd_{::socket(AF_INET, SOCK_STREAM, 0)} {
    const timeval patience{30, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~RawPeer() { ::close(fd_); }
  RawPeer(const RawPeer&) = delete;

  void send(std::string_view text) const {
    while (!text.empty()) {
      const auto done = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (done <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  /// Until the server closes.
  [[nodiscard]] std::string read_all() {
    while (read_more()) {
    }
    return std::move(text_);
  }
  /// One response with a Content-Length.
  [[nodiscard]] std::string read_response() {
    std::size_t end = 0;
    while ((end = text_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) return std::move(text_);
    }
    const auto mark = text_.find("Content-Length: ");
    const auto length = mark < end ? std::stoul(text_.substr(mark + 16)) : 0;
    while (text_.size() < end + 4 + length && read_more()) {
    }
    auto out = text_.substr(0, end + 4 + length);
    text_.erase(0, end + 4 + length);
    return out;
  }

 private:
  bool read_more() {
    char piece[4096];
    const auto got = ::recv(fd_, piece, sizeof piece, 0);
    if (got <= 0) return false;
    text_.append(piece, static_cast<std::size_t>(got));
    return true;
  }
  int fd_;
  std::string text_;
};

inline int status_of(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(response.substr(9, 3)) : 0;
}
inline std::string body_of(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }
inline std::string field_of(const std::string& response, const std::string& name) {
  const auto begin = response.find("\r\n" + name + ": ");
  if (begin == std::string::npos) return {};
  const auto value = begin + name.size() + 4;
  return response.substr(value, response.find("\r\n", value) - value);
}
/// The code of a problem document.
inline std::string code_of(const std::string& response) {
  const auto document = codec::json::parse(body_of(response));
  if (!document || document->find("code") == nullptr) return {};
  return *document->find("code")->as_string();
}

/// Counts, and lets a test wait for a count without sleeping.
class Counter {
 public:
  void add() {
    const std::lock_guard lock{mutex_};
    ++count_;
    changed_.notify_all();
  }
  /// False when that takes unreasonably long.
  [[nodiscard]] bool wait_for(int count) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, kLong, [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// A server on loopback with the routes and options that a test gives it.
struct Running : testing::Test {
  Running() { io.start(); }
  ~Running() override {
    if (server) runtime::block_on(io, server->stop(milliseconds{100}));
  }

  /// Accepts "good" (role reader) and "admin" (role admin); "throw" and "hang" do so.
  static Task<Result<Principal>> authenticate(std::string token) {
    Principal principal;
    principal.subject = token;
    principal.tenant = "ten-a";
    principal.token_id = "t1";
    if (token == "good") principal.roles = {"reader"};
    else if (token == "admin") principal.roles = {"admin"};
    else if (token == "throw") throw std::runtime_error{"secret detail"};
    else if (token == "hang") while (true) (void)co_await runtime::sleep_until(SteadyTime::max());
    else co_return Error{Errc::unauthenticated, "unknown token"};
    co_return principal;
  }

  void serve() {
    options.authenticator = authenticate;
    options.metrics = [this](const RequestMetric& metric) {
      const std::lock_guard lock{metrics_mutex};
      metrics.push_back(std::string{metric.route} + ' ' + std::string{metric.method} + ' ' +
                        std::to_string(metric.status));
    };
    auto made = Server::listen(io, options, router, logger);
    ASSERT_TRUE(made.ok()) << made.error().text();
    server = std::move(*made);
  }

  /// One request on a connection of its own.
  [[nodiscard]] std::string exchange(const std::string& text) const {
    RawPeer peer{server->port()};
    peer.send(text);
    return peer.read_response();
  }
  [[nodiscard]] std::string get(const std::string& target, const std::string& fields = {}) const {
    return exchange("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n");
  }

  [[nodiscard]] std::unique_ptr<Client> client(ClientOptions wanted = {}) {
    if (wanted.base_url.empty()) wanted.base_url = server->base_url();
    auto made = Client::make(io, std::move(wanted));
    EXPECT_TRUE(made.ok()) << made.error().text();
    return std::move(*made);
  }
  [[nodiscard]] Result<ClientResponse> ask(Client& with, Method method, std::string target, std::string body = {},
                                           Headers headers = {}) {
    return runtime::block_on(io,
                             with.request(method, std::move(target), std::move(headers), to_bytes(body), far()));
  }

  runtime::IoContext io{2};
  log::NullLogger logger;
  Router router;
  ServerOptions options;
  std::unique_ptr<Server> server;
  std::mutex metrics_mutex;
  std::vector<std::string> metrics;
};

inline Task<Response> say(std::string text) { co_return bytes_response("text/plain", to_bytes(text)); }
inline Task<Response> echo(Request request) { co_return bytes_response("text/plain", to_bytes(ByteView{request.body})); }

/// A self-signed certificate made by the openssl program.
struct TestCertificate {
  static constexpr const char* kHere = "IP:127.0.0.1,DNS:localhost";
  explicit TestCertificate(const std::string& names = kHere, int days = 2) {
    const auto request = (dir.path() / "request").string();
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test -addext subjectAltName=" + names +
        " -keyout " + files.key.string() + " -out " + request);
    run("openssl x509 -req -copy_extensions copy -days " + std::to_string(days) + " -in " + request + " -key " +
        files.key.string() + " -out " + files.certificate.string());
  }
  static void run(const std::string& command) {
    EXPECT_EQ(std::system((command + " 2>/dev/null").c_str()), 0);  // fixed text and paths of our own
  }
  void copy_over(const TestCertificate& other) const {
    constexpr auto kReplace = std::filesystem::copy_options::overwrite_existing;
    std::filesystem::copy_file(files.certificate, other.files.certificate, kReplace);
    std::filesystem::copy_file(files.key, other.files.key, kReplace);
  }
  cloister::test::TempDir dir;
  TlsFiles files{dir.path() / "cert.pem", dir.path() / "key.pem"};
  [[nodiscard]] std::string pem() const { return cloister::test::read_text(files.certificate); }
};

}  // namespace cloister::http::test
