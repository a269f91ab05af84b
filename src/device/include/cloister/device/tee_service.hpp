#pragma once

#include "cloister/device/tee_device.hpp"
#include "cloister/process/descriptor.hpp"

/// The other end of the TEE socket: a device, given to programs that ask for it (docs/protocol/tee-socket.md).
namespace cloister::device {

/// The answer to one request, as the device gives it; an error's answer to what is no request.
[[nodiscard]] Bytes answer_tee_request(TeeDevice& device, ByteView request);

inline constexpr std::size_t kMaxTeeConnections = 64;

/// Answers everybody of this user's who connects to a listening socket, until `stop_fd` is readable. One thread: calls of
/// the device come one after the other. A connection that breaks the frames, sends descriptors or is another user's ends;
/// beyond `kMaxTeeConnections` new ones wait. Errors: only of the machine (poll(2)).
[[nodiscard]] Result<void> serve_tee_socket(TeeDevice& device, int listener, int stop_fd);

}  // namespace cloister::device
