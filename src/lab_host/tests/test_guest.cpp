// What a TD runs in these tests: it does what its stream says, one frame a command and one an answer, and so shows
// what a guest, also a hostile one, can reach.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>

#include "cloister/codec/text.hpp"
#include "cloister/device/boot.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/device/tee_wire.hpp"
#include "cloister/process/confine.hpp"

namespace {

using namespace cloister;

Deadline minute() { return Deadline{std::chrono::steady_clock::now() + std::chrono::minutes{1}}; }

std::string numbered(int error) { return "errno " + std::to_string(error); }

std::string descriptors() {
  std::string out;
  for (int fd = 0; fd < 4096; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) out += std::to_string(fd) + " ";
  }
  return out;
}

std::string list(const std::string& path) {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) return numbered(errno);
  std::string out;
  while (const dirent* const entry = ::readdir(directory)) out += std::string{entry->d_name} + " ";
  ::closedir(directory);
  return out;
}

std::string open_to_write(const std::string& path) {
  const process::UniqueFd fd{::open(path.c_str(), O_RDWR)};
  return fd.valid() ? "opened" : numbered(errno);
}

std::string blob(int index) {
  auto mapping = process::SealedMapping::of(device::kFirstBlobDescriptor + index);
  return mapping ? std::string{as_text(mapping->contents())} : mapping.error().text();
}

/// Runs the first blob, a static program, as a challenge would be run.
std::string confine(const std::string& word) {
  ::mkdir("image", 0755);
  for (const char* name : {"image/tmp", "image/dev", "image/proc"}) ::mkdir(name, 0755);
  std::ofstream{"image/program", std::ios::binary} << blob(0);
  ::chmod("image/program", 0755);
  char here[4096];
  if (::getcwd(here, sizeof here) == nullptr) return numbered(errno);
  auto pipe = process::pipe_pair();
  auto confined = process::run_confined({.root = std::string{here} + "/image",
                                         .program = "/program",
                                         .arguments = {word, "/"},
                                         .environment = {},
                                         .descriptors = {{.source = pipe->second.get(), .target = 1}},
                                         .limits = {}});
  if (!confined) return confined.error().text();
  pipe->second.reset();
  std::string out = confined->isolated ? "isolated: " : "not isolated: ";
  char buffer[4096];
  for (;;) {
    const auto got = ::read(pipe->first.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    out.append(buffer, static_cast<std::size_t>(got));
  }
  const auto status = confined->process.wait(minute());
  return out + (status ? " (" + status->text() + ")" : status.error().text());
}

class Guest {
 public:
  Guest() : tee_{process::UniqueFd{device::kTeeDescriptor}} {}

  Bytes perform(const std::string& command) {
    std::istringstream words{command};
    std::string name;
    std::string first;
    std::string second;
    words >> name >> first >> second;
    if (name == "extend") {
      const auto digest = codec::array_from_hex<48>(second);
      const auto done = tee_.extend_rtmr(static_cast<unsigned>(std::stoul(first)), *digest);
      return to_bytes(done ? "ok" : done.error().text());
    }
    if (name == "quote") {
      auto quote = tee_.quote(*codec::array_from_hex<64>(first));
      return quote ? quote->evidence : to_bytes(quote.error().text());
    }
    if (name == "report") {
      auto report = tee_.report(*codec::array_from_hex<64>(first));
      return report ? *report : to_bytes(report.error().text());
    }
    return to_bytes(other(name, first));
  }

 private:
  /// A frame of the caller's own on the TEE socket, past the device.
  static std::string raw_tee(const std::string& hex, int attached) {
    process::FrameSocket raw{*process::duplicate(device::kTeeDescriptor), {.bytes = 1U << 20, .descriptors = 0}};
    std::vector<int> extra;
    if (attached >= 0) extra.push_back(attached);
    if (auto sent = raw.send(*codec::from_hex(hex), extra, minute()); !sent) return sent.error().text();
    auto answer = raw.receive(minute());
    return answer ? codec::to_hex(answer->payload) : answer.error().text();
  }

  static std::string other(const std::string& name, const std::string& argument) {
    if (name == "descriptors") return descriptors();
    if (name == "list") return list(argument);
    if (name == "write") return open_to_write(argument);
    if (name == "tee") return raw_tee(argument, -1);
    if (name == "tee-with-descriptor") return raw_tee(argument, 0);
    if (name == "blob") return blob(std::stoi(argument));
    if (name == "confine") return confine(argument);
    if (name == "pid") return std::to_string(::getpid());
    if (name == "configuration") {
      const auto boot = device::read_boot(std::move(*process::duplicate(device::kBootDescriptor)));
      return boot ? std::string{as_text(boot->configuration)} : boot.error().text();
    }
    if (name == "print") {
      std::fputs(argument.c_str(), stderr);
      return "ok";
    }
    if (name == "exit") ::_exit(std::stoi(argument));
    return "unknown command";
  }

  device::LabSocketDevice tee_;
};

}  // namespace

int main() {
  Guest guest;
  process::FrameSocket stream{process::UniqueFd{device::kStreamDescriptor}, {.bytes = 1U << 16, .descriptors = 0}};
  for (;;) {
    auto command = stream.receive(Deadline{std::chrono::steady_clock::now() + std::chrono::hours{1}});
    if (!command) return 0;
    if (!stream.send(guest.perform(std::string{as_text(command->payload)}), {}, minute())) return 1;
  }
}
