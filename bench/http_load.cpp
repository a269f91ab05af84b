// Asks the same of an HTTP server, over a number of connections, for a while: prints how often and how fast.
// usage: bench-http PORT PATH CONNECTIONS SECONDS [TOKEN-FILE]
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "samples.hpp"

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench-http: %s\n", what.c_str());
  std::exit(1);
}

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

  void ask(const std::string& request) {
    if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) fail("cannot send");
    asked_ = Clock::now();
    answer_.clear();
  }
  /// Takes what came; true once the answer is whole. Any but 200 ends the run: it would measure refusals.
  bool take() {
    char buffer[16 * 1024];
    const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) fail("the server closed the connection after: " + answer_);
    answer_.append(buffer, static_cast<std::size_t>(got));
    const auto head = answer_.find("\r\n\r\n");
    if (head == std::string::npos) return false;
    if (answer_.compare(0, 12, "HTTP/1.1 200") != 0) fail(answer_);
    const auto at = answer_.find("Content-Length: ");
    if (at == std::string::npos) fail("no Content-Length");
    return answer_.size() >= head + 4 + std::strtoul(answer_.c_str() + at + 16, nullptr, 10);
  }
  [[nodiscard]] std::int64_t waited_us() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - asked_).count();
  }

 private:
  int fd_;
  Clock::time_point asked_;
  std::string answer_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 6) fail("PORT PATH CONNECTIONS SECONDS [TOKEN-FILE] expected");
  std::string request = "GET " + std::string{argv[2]} + " HTTP/1.1\r\nHost: localhost\r\n";
  if (argc == 6) {
    std::string token;
    std::ifstream{argv[5]} >> token;
    request += "Authorization: Bearer " + token + "\r\n";
  }
  request += "\r\n";
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  std::vector<Connection> connections;
  std::vector<pollfd> polled;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    connections.emplace_back(port);
    polled.push_back({connections.back().fd(), POLLIN, 0});
  }
  bench::Samples samples;
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::milliseconds{static_cast<int>(1000 * std::atof(argv[4]))};
  for (auto& connection : connections) connection.ask(request);
  while (Clock::now() < end) {
    if (::poll(polled.data(), polled.size(), 10'000) <= 0) fail("no answer in ten seconds");
    for (std::size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents == 0 || !connections[i].take()) continue;
      samples.add(connections[i].waited_us());
      connections[i].ask(request);
    }
  }
  const std::chrono::duration<double> took = Clock::now() - begin;
  std::printf("%s\n", cloister::codec::json::write(samples.report(took.count())).c_str());
}
