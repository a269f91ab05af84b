#pragma once

#include <chrono>

#include "cloister/device/tee_device.hpp"
#include "cloister/process/frame_socket.hpp"

namespace cloister::device {

/// The lab platform's TEE through the socket that a simulated TD inherits. After a call that failed on the way
/// (no answer in time, a broken frame) the connection is closed, and every later call fails with `peer_closed`.
class LabSocketDevice final : public TeeDevice {
 public:
  explicit LabSocketDevice(process::UniqueFd socket, std::chrono::milliseconds timeout = std::chrono::seconds{30});

  [[nodiscard]] Result<Bytes> report(const Digest64& report_data) override;
  [[nodiscard]] Result<void> extend_rtmr(unsigned index, const Digest48& digest) override;
  [[nodiscard]] Result<Quote> quote(const Digest64& report_data) override;

 private:
  [[nodiscard]] Result<Bytes> ask(ByteView request);
  process::FrameSocket socket_;
  std::chrono::milliseconds timeout_;
};

}  // namespace cloister::device
