#include "cloister/device/tee_service.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <list>
#include <vector>

#include "cloister/device/tee_wire.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/process/unix_socket.hpp"

namespace cloister::device {
namespace {

Result<Bytes> perform(TeeDevice& device, const TeeRequest& request) {
  if (const auto* const extend = std::get_if<ExtendRequest>(&request)) {
    CLOISTER_CHECK(device.extend_rtmr(extend->index, extend->digest));
    return encode_extend_answer();
  }
  if (const auto* const quoted = std::get_if<QuoteRequest>(&request)) {
    CLOISTER_TRY(quote, device.quote(quoted->report_data));
    return encode_quote_answer(quote);
  }
  CLOISTER_TRY(report, device.report(std::get<ReportRequest>(request).report_data));
  return encode_report_answer(report);
}

/// False when the connection is over. Nothing more is read while an answer is unread.
bool serve(TeeDevice& device, process::FrameSocket& socket, short events) {
  if ((events & POLLOUT) != 0) return socket.flush().ok();
  auto frame = socket.try_receive();
  if (!frame) return false;
  if (!*frame) return true;
  socket.queue(answer_tee_request(device, (*frame)->payload));
  return socket.flush().ok();
}

/// Invalid when nobody of ours is there.
process::UniqueFd next_connection(int listener) {
  auto socket = process::accept_from(listener);
  if (!socket || !socket->valid()) return {};
  const auto peer = process::peer_credentials(socket->get());
  if (!peer || peer->uid != ::geteuid()) return {};
  return std::move(*socket);
}

}  // namespace

Bytes answer_tee_request(TeeDevice& device, ByteView request) {
  const auto decoded = decode_tee_request(request);
  if (!decoded) return encode_tee_error(decoded.error());
  auto answer = perform(device, *decoded);
  return answer ? std::move(*answer) : encode_tee_error(answer.error());
}

Result<void> serve_tee_socket(TeeDevice& device, int listener, int stop_fd) {
  std::list<process::FrameSocket> connections;
  for (;;) {
    std::vector<pollfd> polled{{stop_fd, POLLIN, 0}};
    const bool room = connections.size() < kMaxTeeConnections;
    polled.push_back({room ? listener : -1, POLLIN, 0});
    for (const auto& connection : connections) {
      polled.push_back({connection.fd(), static_cast<short>(connection.wants_write() ? POLLOUT : POLLIN), 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return process::errno_error("poll");
    }
    if (polled[0].revents != 0) return {};
    auto connection = connections.begin();
    for (std::size_t i = 2; i < polled.size(); ++i) {
      const bool over = polled[i].revents != 0 && !serve(device, *connection, polled[i].revents);
      connection = over ? connections.erase(connection) : std::next(connection);
    }
    if (polled[1].revents == 0) continue;
    if (auto socket = next_connection(listener); socket.valid()) {
      connections.emplace_back(std::move(socket), process::FrameLimits{.bytes = kMaxTeeRequest, .descriptors = 0});
    }
  }
}

}  // namespace cloister::device
