#include "cloister/provider/process_provider.hpp"

#include <sys/socket.h>

#include "cloister/process/unix_socket.hpp"

namespace cloister::provider {

Result<CvmExit> CvmLife::wait(Deadline deadline) {
  CLOISTER_TRY(frame, socket_.receive(deadline));
  return decode_exit(frame.payload);
}

void CvmLife::stop() noexcept {
  // Not close: a duplicate of the descriptor, or a thread in `wait`, would keep the socket open.
  ::shutdown(socket_.fd(), SHUT_RDWR);
}

ProcessProvider::ProcessProvider(std::filesystem::path control_socket, TdImage image)
    : control_socket_{std::move(control_socket)}, image_{std::move(image)} {}

Result<process::Frame> ProcessProvider::ask(const HostRequest& request, std::span<const int> descriptors,
                                            Deadline deadline) const {
  auto connected = process::connect_to(control_socket_);
  if (!connected) return Error{Errc::unavailable, "lab platform: " + connected.error().detail()};
  process::FrameSocket socket{std::move(*connected), kHostAnswerLimits};
  CLOISTER_CHECK(socket.send(encode(request), descriptors, deadline));
  return socket.receive(deadline);
}

Result<StartedCvm> ProcessProvider::start(const StartRequest& request, Deadline deadline) {
  StartTd start{.files = {}, .configuration = request.configuration, .memory_mib = request.memory_mib, .blobs = {}};
  std::vector<int> descriptors;
  for (const auto& file : image_) {
    start.files.push_back({.path = file.path, .mode = file.mode});
    descriptors.push_back(file.memfd.get());
  }
  for (const auto& blob : request.blobs) {
    start.blobs.push_back(blob.sha256);
    descriptors.push_back(blob.file.get());
  }
  if (start.files.size() > kMaxTdFiles || start.blobs.size() > kMaxTdBlobs ||
      descriptors.size() > kHostRequestLimits.descriptors) {
    return Error{Errc::limit_exceeded, "TD: too many files or blobs"};
  }
  CLOISTER_TRY(answer, ask(start, descriptors, deadline));
  CLOISTER_TRY(started, decode_start_answer(answer.payload));
  if (answer.descriptors.size() != 2) return Error{Errc::malformed, "lab host answer: two descriptors expected"};
  return StartedCvm{.id = std::move(started.id),
                    .streams = std::move(answer.descriptors[0]),
                    .life = CvmLife{process::FrameSocket{std::move(answer.descriptors[1]), kExitLimits}}};
}

Result<void> ProcessProvider::stop(const std::string& id, Deadline deadline) {
  CLOISTER_TRY(answer, ask(StopTd{id}, {}, deadline));
  return decode_stop_answer(answer.payload);
}

Result<std::vector<std::string>> ProcessProvider::list(Deadline deadline) {
  CLOISTER_TRY(answer, ask(ListTds{}, {}, deadline));
  return decode_list_answer(answer.payload);
}

Result<LabCollateral> ProcessProvider::collateral(Deadline deadline) {
  CLOISTER_TRY(answer, ask(GetCollateral{}, {}, deadline));
  return decode_collateral_answer(answer.payload);
}

}  // namespace cloister::provider
