#pragma once

#include <sys/types.h>

#include <filesystem>

#include "cloister/core/result.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::process {

/// A listening UNIX stream socket at `path`, mode 0600 from its first moment, non-blocking; a socket that lies there is
/// replaced when nobody answers on it, else `conflict`. The caller removes the path at the end.
[[nodiscard]] Result<UniqueFd> listen_at(const std::filesystem::path& path);
/// The next connection, or an invalid descriptor when there is none.
[[nodiscard]] Result<UniqueFd> accept_from(int listener);
[[nodiscard]] Result<UniqueFd> connect_to(const std::filesystem::path& path);

/// Who is at the other end (SO_PEERCRED: as of its connect).
struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
[[nodiscard]] Result<PeerCredentials> peer_credentials(int socket);

}  // namespace cloister::process
