// Guests of Confidential Containers against a server, over a number of connections that are kept, for a while: how many
// handshakes or releases there are in a second, how long they take, and how much of the server's CPU each costs.
// usage: bench-guests PORT PID handshake CONNECTIONS SECONDS PREFIX [SOCKET]     with sample evidence, or TDX of the lab's device
//        bench-guests PORT PID release CONNECTIONS SECONDS PREFIX TOKEN-FILE PATH
//        bench-guests PORT PID auth CONNECTIONS COUNT PREFIX                     begins COUNT handshakes, and ends none
//        bench-guests PORT PID token 1 0 PREFIX                                  prints the token of one handshake
//   PREFIX is "/kbs/v0", or a tenant's "/t/TENANT/kbs/v0"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/jwe.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/rcar/attestation.hpp"
#include "cloister/rcar/messages.hpp"
#include "samples.hpp"

namespace {

using namespace cloister;
using Stopwatch = std::chrono::steady_clock;
namespace json = codec::json;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench-guests: %s\n", what.c_str());
  std::exit(1);
}

/// CPU time of a process, in microseconds (proc(5): utime and stime of /proc/PID/stat, in ticks).
std::int64_t cpu_us(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string line;
  if (!std::getline(in, line)) fail("no process " + pid);
  std::istringstream rest{line.substr(line.rfind(')') + 2)};
  std::string skipped;
  for (int field = 3; field < 14; ++field) rest >> skipped;
  std::int64_t user = 0;
  std::int64_t system = 0;
  rest >> user >> system;
  return (user + system) * (1'000'000 / ::sysconf(_SC_CLK_TCK));
}

struct Answer {
  std::string head;
  std::string body;
};

class Connection {
 public:
  explicit Connection(std::uint16_t port) : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
  }
  [[nodiscard]] int fd() const { return fd_; }

  void send(const std::string& request) {
    got_.clear();
    if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) fail("cannot send");
  }
  /// Takes what came; the answer once it is whole. Any but 200 ends the run: it would measure refusals.
  std::optional<Answer> take() {
    char buffer[64 * 1024];
    const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) fail("the server closed the connection after: " + got_);
    got_.append(buffer, static_cast<std::size_t>(got));
    const auto head = got_.find("\r\n\r\n");
    if (head == std::string::npos) return std::nullopt;
    if (got_.compare(0, 12, "HTTP/1.1 200") != 0) fail(got_);
    const auto at = got_.find("Content-Length: ");
    if (at == std::string::npos) fail("no Content-Length");
    if (got_.size() < head + 4 + std::strtoul(got_.c_str() + at + 16, nullptr, 10)) return std::nullopt;
    return Answer{got_.substr(0, head), got_.substr(head + 4)};
  }

 private:
  int fd_;
  std::string got_;
};

std::string post(const std::string& target, const std::string& cookie, const std::string& body) {
  return "POST " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         (cookie.empty() ? "" : "Cookie: " + cookie + "\r\n") + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// What one connection does again and again: gives the next request for an answer (an empty one at the beginning), or
/// nothing when one round is over.
class Guest {
 public:
  virtual ~Guest() = default;
  virtual std::string begin() = 0;
  virtual std::optional<std::string> next(const Answer& answer) = 0;
};

class Auth final : public Guest {
 public:
  explicit Auth(const std::string& prefix) : request_{post(prefix + "/auth", "", rcar::write(rcar::Request{}))} {}
  std::string begin() override { return request_; }
  std::optional<std::string> next(const Answer&) override { return std::nullopt; }

 private:
  std::string request_;
};

class Release final : public Guest {
 public:
  Release(const std::string& prefix, const std::string& token, const std::string& path)
      : request_{"GET " + prefix + "/resource/" + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n\r\n"} {}
  std::string begin() override { return request_; }
  std::optional<std::string> next(const Answer&) override { return std::nullopt; }

 private:
  std::string request_;
};

using Evidence = std::function<std::string(const Digest48&)>;

class Handshake final : public Guest {
 public:
  Handshake(std::string prefix, rcar::Tee tee, Evidence evidence)
      : prefix_{std::move(prefix)},
        request_{rcar::write(rcar::Request{std::string{rcar::kVersion}, tee})},
        evidence_{std::move(evidence)} {}
  std::string begin() override {
    attesting_ = false;
    return post(prefix_ + "/auth", "", request_);
  }
  std::optional<std::string> next(const Answer& answer) override {
    if (attesting_) return std::nullopt;
    attesting_ = true;
    const auto challenge = rcar::parse_challenge(answer.body);
    const auto at = answer.head.find("kbs-session-id=");
    if (!challenge || at == std::string::npos) fail(answer.head + answer.body);
    const auto cookie = answer.head.substr(at, answer.head.find(';', at) - at);
    const auto nonce = challenge->nonce_text();
    const auto data = rcar::primary_report_data(nonce, key_, "").value();
    return post(prefix_ + "/attest", cookie, rcar::write(rcar::Attestation{std::nullopt, nonce, key_, evidence_(data), ""}));
  }

 private:
  std::string prefix_;
  std::string request_;
  Evidence evidence_;
  crypto::jose::EncryptionKey key_ =
      crypto::jose::DecryptionKey{crypto::DhPrivateKey::generate(crypto::DhCurve::p256)}.public_key();
  bool attesting_ = false;
};

std::string sample(const Digest48& data) {
  return json::write(json::Object{{"svn", "1"}, {"report_data", codec::to_base64(data)}});
}

process::UniqueFd connect_unix(const std::string& path) {
  process::UniqueFd out{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) fail("the socket's path is too long");
  std::ranges::copy(path, address.sun_path);
  if (::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("cannot connect to " + path);
  return out;
}

struct Client {
  explicit Client(std::uint16_t port, std::unique_ptr<Guest> what) : connection{port}, guest{std::move(what)} {}
  Connection connection;
  std::unique_ptr<Guest> guest;
  Stopwatch::time_point began;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) fail("PORT PID handshake|release CONNECTIONS SECONDS PREFIX [TOKEN-FILE PATH | SOCKET] expected (see the head of this program)");
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const std::string pid = argv[2];
  const std::string what = argv[3];
  const std::string prefix = argv[6];
  std::function<std::unique_ptr<Guest>()> make;
  std::unique_ptr<device::TeeDevice> tee;
  if (what == "release" && argc == 9) {
    std::string token;
    std::ifstream{argv[7]} >> token;
    make = [&, token] { return std::make_unique<Release>(prefix, token, argv[8]); };
  } else if (what == "auth" && argc == 7) {
    make = [&] { return std::make_unique<Auth>(prefix); };
  } else if ((what == "handshake" || what == "token") && argc == 7) {
    make = [&] { return std::make_unique<Handshake>(prefix, rcar::Tee::sample, sample); };
  } else if (what == "handshake" && argc == 8) {
    tee = std::make_unique<device::LabSocketDevice>(connect_unix(argv[7]));
    const Evidence quote = [&tee](const Digest48& data) {
      const auto made = tee->quote(rcar::padded(data));
      if (!made) fail(made.error().text());
      return json::write(json::Object{{"cc_eventlog", nullptr}, {"quote", codec::to_base64(made->evidence)}});
    };
    make = [&, quote] { return std::make_unique<Handshake>(prefix, rcar::Tee::tdx, quote); };
  } else {
    fail("handshake, token, or release with TOKEN-FILE and PATH, expected");
  }
  std::vector<Client> clients;
  std::vector<pollfd> polled;
  for (int i = 0; i < std::atoi(argv[4]); ++i) {
    clients.emplace_back(port, make());
    polled.push_back({clients.back().connection.fd(), POLLIN, 0});
  }
  bench::Samples samples;
  std::size_t rounds = 0;
  const auto start = [](Client& client) {
    client.began = Stopwatch::now();
    client.connection.send(client.guest->begin());
  };
  const auto cpu = cpu_us(pid);
  const auto begin = Stopwatch::now();
  const auto end = begin + std::chrono::milliseconds{static_cast<int>(1000 * std::atof(argv[5]))};
  const auto count = static_cast<std::size_t>(std::atof(argv[5]));  // of what is counted, not timed
  for (auto& client : clients) start(client);
  while (what == "token" || (what == "auth" ? rounds < count : Stopwatch::now() < end)) {
    if (::poll(polled.data(), polled.size(), 10'000) <= 0) fail("no answer in ten seconds");
    for (std::size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      auto& client = clients[i];
      const auto answer = client.connection.take();
      if (!answer) continue;
      if (const auto more = client.guest->next(*answer)) {
        client.connection.send(*more);
        continue;
      }
      if (what == "token") {
        std::printf("%s\n", rcar::parse_token(answer->body).value().c_str());
        return 0;
      }
      samples.add(std::chrono::duration_cast<std::chrono::microseconds>(Stopwatch::now() - client.began).count());
      ++rounds;
      start(client);
    }
  }
  const std::chrono::duration<double> took = Stopwatch::now() - begin;
  auto report = samples.report(took.count());
  report.set("server_cpu_us", (cpu_us(pid) - cpu) / static_cast<std::int64_t>(std::max<std::size_t>(rounds, 1)));
  std::printf("%s\n", json::write(report).c_str());
}
