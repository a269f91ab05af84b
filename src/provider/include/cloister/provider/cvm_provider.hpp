#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/process/child.hpp"
#include "cloister/process/frame_socket.hpp"

/// Where confidential VMs are started.
namespace cloister::provider {

/// A file that the guest gets beside its measured image. The guest checks it; nobody else does.
struct Blob {
  Digest32 sha256{};
  process::UniqueFd file;  // a regular file, open for reading
};

struct StartRequest {
  Bytes configuration;  // measured by the guest itself (docs/protocol/launch.md); at most 64 KiB
  std::vector<Blob> blobs;
  std::uint32_t memory_mib = 256;
};

/// How a CVM ended.
struct CvmExit {
  process::ExitStatus status;
  std::string console;  // the end of what it wrote to its console: untrusted text
};

/// The life of one CVM as its starter holds it: when this object ends, the CVM is stopped.
class CvmLife {
 public:
  explicit CvmLife(process::FrameSocket socket) : socket_{std::move(socket)} {}
  /// Readable (POLLIN) once the CVM has ended.
  [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
  /// `deadline_exceeded` while it runs (ask again); `peer_closed` when whoever ran it is gone, and the CVM with it.
  [[nodiscard]] Result<CvmExit> wait(Deadline deadline);
  /// Stops the CVM, whatever it does, though somebody else still watches `fd`, which becomes readable.
  void stop() noexcept;

 private:
  process::FrameSocket socket_;
};

struct StartedCvm {
  std::string id;  // as `valid_id`, unique at its provider
  process::UniqueFd streams;  // a socket over which it is handed byte streams (docs/protocol/tee-socket.md)
  CvmLife life;
};

/// Calls block until their deadline, for a pool of blocking threads. Thread-safe.
class CvmProvider {
 public:
  virtual ~CvmProvider() = default;
  [[nodiscard]] virtual Result<StartedCvm> start(const StartRequest& request, Deadline deadline) = 0;
  /// Success also when it has just ended by itself: `not_found` when there is no such CVM.
  [[nodiscard]] virtual Result<void> stop(const std::string& id, Deadline deadline) = 0;
  /// Those that run, whoever started them.
  [[nodiscard]] virtual Result<std::vector<std::string>> list(Deadline deadline) = 0;
};

}  // namespace cloister::provider
