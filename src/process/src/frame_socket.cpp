#include "cloister/process/frame_socket.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cloister/core/assert.hpp"

namespace cloister::process {
namespace {

constexpr std::size_t kMaxDescriptors = 253;  // SCM_MAX_FD of the kernel
using ControlBuffer = std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))>;

ByteArray<4> big_endian(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
          static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

std::size_t value_of(const ByteArray<4>& bytes) {
  return (std::size_t{bytes[0]} << 24) | (std::size_t{bytes[1]} << 16) | (std::size_t{bytes[2]} << 8) | bytes[3];
}

/// Takes ownership of every descriptor that came along.
void collect(const msghdr& message, std::vector<UniqueFd>& into) {
  for (const cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(head))) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const auto count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
      into.emplace_back(fd);
    }
  }
}

Error closed_error() { return Error{Errc::peer_closed, "the other end closed the connection"}; }

}  // namespace

FrameSocket::FrameSocket(UniqueFd socket, FrameLimits limits) : socket_{std::move(socket)}, limits_{limits} {
  CLOISTER_ASSERT(limits_.descriptors <= kMaxDescriptors);
}

/// The number of bytes that were here; 0 when none were.
Result<std::size_t> FrameSocket::receive_some(std::span<std::uint8_t> into) {
  alignas(cmsghdr) ControlBuffer control;
  iovec vector{.iov_base = into.data(), .iov_len = into.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
    if (errno == ECONNRESET) return closed_error();
    return errno_error("recvmsg");
  }
  collect(message, incoming_.descriptors);
  if ((message.msg_flags & MSG_CTRUNC) != 0 || incoming_.descriptors.size() > limits_.descriptors) {
    return Error{Errc::limit_exceeded, "frame: at most " + std::to_string(limits_.descriptors) + " descriptors expected"};
  }
  if (got == 0 && have_ == 0) return closed_error();
  if (got == 0) return Error{Errc::truncated, "the other end closed the connection inside a frame"};
  return static_cast<std::size_t>(got);
}

Result<std::optional<Frame>> FrameSocket::try_receive() {
  // Never asks for bytes beyond the frame: what arrives with them belongs to it.
  while (have_ < length_.size()) {
    CLOISTER_TRY(got, receive_some(std::span{length_}.subspan(have_)));
    if (got == 0) return std::optional<Frame>{};
    have_ += got;
    if (have_ < length_.size()) continue;
    if (value_of(length_) > limits_.bytes) {
      return Error{Errc::limit_exceeded, "frame: at most " + std::to_string(limits_.bytes) + " bytes expected, got " +
                                             std::to_string(value_of(length_))};
    }
  }
  const auto size = value_of(length_);
  while (have_ - length_.size() < size) {
    const auto at = have_ - length_.size();
    // Grows with what arrives: a length alone makes nobody allocate.
    incoming_.payload.resize(std::min(size, at + (std::size_t{64} << 10)));
    auto got = receive_some(std::span{incoming_.payload}.subspan(at));
    if (!got) return std::move(got).error();
    if (*got == 0) return std::optional<Frame>{};
    have_ += *got;
  }
  have_ = 0;
  return std::optional{std::exchange(incoming_, Frame{})};
}

Result<Frame> FrameSocket::receive(Deadline deadline) {
  for (;;) {
    CLOISTER_TRY(frame, try_receive());
    if (frame) return std::move(*frame);
    CLOISTER_CHECK(wait_for(socket_.get(), POLLIN, deadline));
  }
}

/// The number of bytes that went; 0 when there was no room.
Result<std::size_t> FrameSocket::send_some(ByteView bytes, std::span<const int> descriptors) {
  alignas(cmsghdr) ControlBuffer control{};
  iovec vector{.iov_base = const_cast<std::uint8_t*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size_bytes());
  }
  const auto sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
  if (errno == EPIPE || errno == ECONNRESET) return closed_error();
  return errno_error("sendmsg");
}

void FrameSocket::queue(Bytes payload, std::vector<UniqueFd> descriptors) {
  CLOISTER_ASSERT(payload.size() <= UINT32_MAX && descriptors.size() <= kMaxDescriptors);
  Outgoing next;
  const auto length = big_endian(static_cast<std::uint32_t>(payload.size()));
  next.bytes.reserve(length.size() + payload.size());
  append(next.bytes, length);
  append(next.bytes, payload);
  next.descriptors = std::move(descriptors);
  outgoing_.push_back(std::move(next));
}

Result<void> FrameSocket::flush() {
  while (!outgoing_.empty()) {
    auto& first = outgoing_.front();
    std::vector<int> descriptors;
    for (const auto& fd : first.descriptors) descriptors.push_back(fd.get());
    CLOISTER_TRY(sent, send_some(ByteView{first.bytes}.subspan(first.sent), descriptors));
    if (sent == 0) return {};
    first.descriptors.clear();  // they went with the first byte
    first.sent += sent;
    if (first.sent == first.bytes.size()) outgoing_.pop_front();
  }
  return {};
}

Result<void> FrameSocket::send(ByteView payload, std::span<const int> descriptors, Deadline deadline) {
  std::vector<UniqueFd> copies;
  for (const int fd : descriptors) {
    CLOISTER_TRY(copy, duplicate(fd));
    copies.push_back(std::move(copy));
  }
  queue(to_bytes(payload), std::move(copies));
  for (;;) {
    CLOISTER_CHECK(flush());
    if (outgoing_.empty()) return {};
    CLOISTER_CHECK(wait_for(socket_.get(), POLLOUT, deadline));
  }
}

}  // namespace cloister::process
