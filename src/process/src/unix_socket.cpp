#include "cloister/process/unix_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace cloister::process {
namespace {

/// An address holds 107 bytes: a longer path is reached through a descriptor of its directory.
struct Address {
  sockaddr_un name{};
  UniqueFd directory;
};

Result<Address> address_of(const std::filesystem::path& path) {
  Address address;
  address.name.sun_family = AF_UNIX;
  std::string text = path.native();
  if (text.size() >= sizeof address.name.sun_path) {
    address.directory = UniqueFd{::open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (!address.directory.valid()) return errno_error("open " + path.parent_path().string());
    text = "/proc/self/fd/" + std::to_string(address.directory.get()) + "/" + path.filename().native();
  }
  if (text.empty() || text.size() >= sizeof address.name.sun_path) {
    return Error{Errc::invalid_argument, "socket name: 1 to 80 bytes expected, got " + path.filename().string()};
  }
  std::memcpy(address.name.sun_path, text.data(), text.size());
  return address;
}

const sockaddr* generic(const Address& address) { return reinterpret_cast<const sockaddr*>(&address.name); }

}  // namespace

Result<UniqueFd> connect_to(const std::filesystem::path& path) {
  CLOISTER_TRY(address, address_of(path));
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!socket.valid()) return errno_error("socket");
  if (::connect(socket.get(), generic(address), sizeof address.name) != 0) return errno_error("connect " + path.string());
  return socket;
}

Result<UniqueFd> listen_at(const std::filesystem::path& path) {
  CLOISTER_TRY(address, address_of(path));
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket.valid()) return errno_error("socket");
  if (connect_to(path)) return Error{Errc::conflict, path.string() + " is in use"};
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
  // The mode of a bound socket is that of the open one, less the umask (unix(7)): private from its first moment.
  if (::fchmod(socket.get(), 0600) != 0) return errno_error("fchmod");
  if (::bind(socket.get(), generic(address), sizeof address.name) != 0) return errno_error("bind " + path.string());
  if (::listen(socket.get(), 64) != 0) return errno_error("listen");
  return socket;
}

Result<UniqueFd> accept_from(int listener) {
  UniqueFd socket{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
  if (!socket.valid() && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) return errno_error("accept");
  return socket;
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return errno_error("SO_PEERCRED");
  return PeerCredentials{.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
}

}  // namespace cloister::process
