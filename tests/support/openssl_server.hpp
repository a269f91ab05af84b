#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "support/support.hpp"

extern "C" char** environ;

/// A server of another make: the openssl program, with the version and the cipher suites of TLS that a test chooses.
namespace cloister::test {

class OpenSslServer {
 public:
  /// `key`: as `openssl req -newkey` takes it; `options`: of `openssl s_server`. Any GET of "/answer" is answered "ok".
  explicit OpenSslServer(std::vector<std::string> options, const std::string& key = "ec -pkeyopt ec_paramgen_curve:P-256") {
    const auto command = "openssl req -x509 -days 2 -newkey " + key +
                         " -nodes -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout " + file("key.pem") + " -out " +
                         file("cert.pem") + " 2>/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0);  // fixed text and paths of our own
    std::ofstream{file("answer"), std::ios::binary} << "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    // "-HTTP" takes whole answers from files of its folder.
    options.insert(options.begin(), {"openssl", "s_server", "-HTTP", "-accept", "127.0.0.1:0", "-cert", file("cert.pem"), "-key",
                                     file("key.pem")});
    start(std::move(options));
  }
  ~OpenSslServer() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    ::close(output_);
  }
  OpenSslServer(const OpenSslServer&) = delete;
  OpenSslServer& operator=(const OpenSslServer&) = delete;

  [[nodiscard]] std::string url() const { return "https://127.0.0.1:" + port_; }
  /// That it answers a client with these options of `openssl s_client`: so that a refusal is the other client's choice.
  [[nodiscard]] bool answers(const std::string& options) const {
    const auto command = "openssl s_client -connect 127.0.0.1:" + port_ + " " + options + " </dev/null >/dev/null 2>&1";
    return std::system(command.c_str()) == 0;
  }
  /// Its own certificate, which is its authority too.
  [[nodiscard]] std::string pem() const { return read_text(folder_.path() / "cert.pem"); }

 private:
  [[nodiscard]] std::string file(const char* name) const { return (folder_.path() / name).string(); }

  void start(std::vector<std::string> words) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addchdir_np(&actions, folder_.path().c_str());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int failure = ::posix_spawnp(&process_, "openssl", &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    output_ = ends[0];
    ASSERT_EQ(failure, 0);
    // It says "ACCEPT 127.0.0.1:PORT" once it listens.
    std::string said;
    std::array<char, 256> part{};
    while (said.find("ACCEPT ") == std::string::npos || said.back() != '\n') {
      const auto got = ::read(output_, part.data(), part.size());
      ASSERT_GT(got, 0) << said;
      said.append(part.data(), static_cast<std::size_t>(got));
    }
    const auto colon = said.find(':', said.find("ACCEPT "));
    ASSERT_NE(colon, std::string::npos) << said;
    port_ = said.substr(colon + 1, said.find('\n', colon) - colon - 1);
  }

  TempDir folder_;
  pid_t process_ = 0;
  int output_ = -1;
  std::string port_;
};

}  // namespace cloister::test
