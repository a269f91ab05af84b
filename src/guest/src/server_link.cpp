#include "server_link.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace cloister::guest {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;

/// What is there on a non-blocking socket; empty when nothing is, `peer_closed` at its end.
Result<Bytes> read_some(int fd) {
  Bytes buffer(kReadSize);
  const auto n = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Bytes{};
  if (n < 0) return process::errno_error("stream");
  if (n == 0) return Error{Errc::peer_closed, "the host closed the stream"};
  buffer.resize(static_cast<std::size_t>(n));
  return buffer;
}

/// Writes from `sent` on without waiting, and moves it.
Result<void> write_some(int fd, ByteView bytes, std::size_t& sent) {
  while (sent < bytes.size()) {
    const auto rest = bytes.subspan(sent);
    const auto n = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (n < 0) return Error{Errc::peer_closed, "the host closed the stream"};
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace

Result<ServerLink> ServerLink::connect(process::UniqueFd stream, const ByteArray<32>& server_key, protocol::Role role,
                                       Random& random, const Clock& clock, Deadline deadline) {
  if (::fcntl(stream.get(), F_SETFL, O_NONBLOCK) != 0) return process::errno_error("stream");
  channel::Initiator initiator{server_key, role, random};
  CLOISTER_TRY(hello, initiator.start());
  std::size_t sent = 0;
  while (sent < hello.size()) {
    CLOISTER_CHECK(process::wait_for(stream.get(), POLLOUT, deadline));
    CLOISTER_CHECK(write_some(stream.get(), hello, sent));
  }
  for (;;) {
    CLOISTER_CHECK(process::wait_for(stream.get(), POLLIN, deadline));
    CLOISTER_TRY(bytes, read_some(stream.get()));
    CLOISTER_TRY(transport, initiator.feed(bytes));
    if (!transport) continue;
    transport->allow(channel::kMaxMessage);  // the server has proved itself
    ServerLink link{std::move(stream), *std::move(transport), clock};
    CLOISTER_TRY(behind, link.transport_.feed({}));
    for (auto& message : behind.messages) link.received_.push_back(std::move(message));
    return link;
  }
}

Result<void> ServerLink::send(const protocol::ToServer& message) {
  if (sent_ == outgoing_.size()) {
    outgoing_.clear();
    sent_ = 0;
  }
  if (const auto now = clock_->steady(); now - rekeyed_ >= channel::kRekeyInterval) {
    CLOISTER_TRY(renewal, transport_.rekey());
    append(outgoing_, renewal);
    rekeyed_ = now;
  }
  CLOISTER_TRY(wire, transport_.seal(protocol::encode(message)));
  append(outgoing_, wire);
  return {};
}

Result<void> ServerLink::flush() {
  CLOISTER_CHECK(write_some(stream_.get(), outgoing_, sent_));
  if (sent_ == outgoing_.size()) {
    outgoing_.clear();
    sent_ = 0;
  }
  return {};
}

Result<void> ServerLink::read() {
  auto bytes = read_some(stream_.get());
  if (!bytes) {
    CLOISTER_CHECK(transport_.end_of_stream());
    return std::move(bytes).error();
  }
  CLOISTER_TRY(got, transport_.feed(*bytes));
  for (auto& message : got.messages) received_.push_back(std::move(message));
  if (got.closed) return Error{Errc::peer_closed, "the server closed the channel"};
  return {};
}

std::optional<Result<protocol::ToTd>> ServerLink::next() {
  if (received_.empty()) return std::nullopt;
  const auto message = std::move(received_.front());
  received_.pop_front();
  return protocol::decode_to_td(message);
}

Result<protocol::ToTd> ServerLink::receive(Deadline deadline) {
  for (;;) {
    if (auto message = next()) return *std::move(message);
    CLOISTER_CHECK(flush());
    const auto events = static_cast<short>(wants_write() ? POLLIN | POLLOUT : POLLIN);
    CLOISTER_CHECK(process::wait_for(fd(), events, deadline));
    CLOISTER_CHECK(read());
  }
}

}  // namespace cloister::guest
