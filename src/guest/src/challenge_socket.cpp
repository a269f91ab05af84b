#include "challenge_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace cloister::guest {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;

}  // namespace

Result<ChallengeSocket> ChallengeSocket::make(process::UniqueFd socket) {
  if (::fcntl(socket.get(), F_SETFL, O_NONBLOCK) != 0) return process::errno_error("challenge socket");
  return ChallengeSocket{std::move(socket)};
}

Result<void> ChallengeSocket::flush() {
  while (wants_write()) {
    const auto rest = ByteView{outgoing_.front()}.subspan(sent_);
    const auto n = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (n < 0) return Error{Errc::peer_closed, "the challenge has ended"};
    sent_ += static_cast<std::size_t>(n);
    if (sent_ == outgoing_.front().size()) {
      outgoing_.pop_front();
      sent_ = 0;
    }
  }
  return {};
}

Result<std::vector<protocol::challenge::ToGuest>> ChallengeSocket::receive() {
  crypto::CleansedBytes buffer(kReadSize);
  const auto n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return std::vector<protocol::challenge::ToGuest>{};
  }
  if (n <= 0) return Error{Errc::peer_closed, "the challenge has ended"};
  deframer_.feed(ByteView{buffer}.first(static_cast<std::size_t>(n)));
  std::vector<protocol::challenge::ToGuest> messages;
  for (;;) {
    CLOISTER_TRY(frame, deframer_.next());
    if (!frame) return messages;
    CLOISTER_TRY(message, protocol::challenge::decode_to_guest(*frame));
    messages.push_back(std::move(message));
  }
}

}  // namespace cloister::guest
