// A static program that says what it can see: `probe WORD [ARGUMENT]`, answer on standard output.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

int list_descriptors() {
  for (int fd = 0; fd < 4096; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) std::printf("%d ", fd);
  }
  return 0;
}

int read_file(const char* path) {
  const int fd = ::open(path, O_RDONLY);
  if (fd < 0) return errno;
  char buffer[4096];
  const auto got = ::read(fd, buffer, sizeof buffer);
  if (got < 0) return errno;
  std::fwrite(buffer, 1, static_cast<std::size_t>(got), stdout);
  return 0;
}

int write_file(const char* path) {
  const int fd = ::open(path, O_WRONLY | O_CREAT, 0600);
  return fd < 0 ? errno : 0;
}

int list_directory(const char* path) {
  DIR* const directory = ::opendir(path);
  if (directory == nullptr) return errno;
  while (const dirent* const entry = ::readdir(directory)) std::printf("%s ", entry->d_name);
  ::closedir(directory);
  return 0;
}

int connect_to(const char* port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

int pause_with_child(bool own_session) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (own_session) ::setsid();
    for (;;) ::pause();
  }
  std::printf("%d", child);
  std::fflush(stdout);
  for (;;) ::pause();
}

int ignore_terminate() {
  ::signal(SIGTERM, SIG_IGN);
  std::printf("ready");
  std::fflush(stdout);
  for (;;) ::pause();
}

int write_back() {
  char buffer[64];
  const auto got = ::read(3, buffer, sizeof buffer);
  return got > 0 && ::write(3, buffer, static_cast<std::size_t>(got)) == got ? 0 : 1;
}

int show_environment() {
  for (char** entry = environ; *entry != nullptr; ++entry) std::printf("%s ", *entry);
  return 0;
}

int show_directory() {
  char buffer[4096];
  if (::getcwd(buffer, sizeof buffer) == nullptr) return errno;
  std::printf("%s", buffer);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string word = argc > 1 ? argv[1] : "";
  const char* const argument = argc > 2 ? argv[2] : "";
  if (word == "descriptors") return list_descriptors();
  if (word == "exit") return std::atoi(argument);
  if (word == "read") return read_file(argument);
  if (word == "write") return write_file(argument);
  if (word == "list") return list_directory(argument);
  if (word == "connect") return connect_to(argument);
  if (word == "echo") return write_back();
  if (word == "environment") return show_environment();
  if (word == "directory") return show_directory();
  if (word == "pid") return std::printf("%d", ::getpid()) > 0 ? 0 : 1;
  if (word == "uid") return std::printf("%u", ::getuid()) > 0 ? 0 : 1;
  if (word == "no_new_privileges") return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  if (word == "pause") return pause_with_child(false);
  if (word == "pause_apart") return pause_with_child(true);
  if (word == "stubborn") return ignore_terminate();
  if (word == "abort") std::abort();
  return 100;
}
