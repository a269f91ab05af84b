#include "cloister/relay/mux.hpp"

#include <algorithm>

#include "cloister/protocol/host.hpp"

namespace cloister::relay {
namespace {

namespace host = protocol::host;

/// Credit goes back once a quarter of the window was read.
constexpr std::uint32_t kGrantStep = host::kInitialCredit / 4;

Error ended() { return Error{Errc::peer_closed, "the stream has ended"}; }
Error broken(std::string detail) { return Error{Errc::channel_message_invalid, std::move(detail)}; }
Deadline never() { return Deadline{SteadyTime::max()}; }

}  // namespace

Stream::Stream(std::shared_ptr<http::WebSocket> socket, std::uint32_t number)
    : socket_{std::move(socket)}, number_{number}, granted_{host::kInitialCredit}, credit_{host::kInitialCredit} {}

void Stream::end() {
  closed_ = true;
  changed_.notify_all();
}

runtime::Task<Result<Bytes>> Stream::read() {
  for (;;) {
    const auto seen = changed_.version();
    if (!incoming_.empty()) break;
    if (closed_) co_return ended();
    auto waited = co_await changed_.wait(seen, never());
    if (!waited) co_return std::move(waited).error();
  }
  Bytes taken = std::move(incoming_);
  incoming_.clear();
  consumed_ += static_cast<std::uint32_t>(taken.size());
  if (consumed_ >= kGrantStep && !closed_) {
    granted_ += consumed_;
    Bytes frame = host::encode_credit(number_, consumed_);
    consumed_ = 0;
    auto sent = co_await socket_->send_binary(std::move(frame));
    if (!sent) co_return std::move(sent).error();
  }
  co_return taken;
}

runtime::Task<Result<void>> Stream::write(Bytes data) {
  ByteView rest{data};
  while (!rest.empty()) {
    const auto seen = changed_.version();
    if (closed_) co_return ended();
    const auto size = std::min({rest.size(), static_cast<std::size_t>(credit_), host::kMaxData});
    if (size == 0) {
      auto waited = co_await changed_.wait(seen, never());
      if (!waited) co_return std::move(waited).error();
      continue;
    }
    credit_ -= size;
    Bytes frame = host::encode_data(number_, rest.first(size));
    rest = rest.subspan(size);
    auto sent = co_await socket_->send_binary(std::move(frame));
    if (!sent) co_return std::move(sent).error();
  }
  co_return Result<void>{};
}

runtime::Task<void> Stream::close() {
  if (closed_) co_return;
  end();
  Bytes frame = host::encode_close(number_);
  // Whether the peer still hears it does not matter: the connection's end says the same.
  static_cast<void>(co_await socket_->send_binary(std::move(frame)));
}

Mux::Mux(std::shared_ptr<http::WebSocket> socket) : socket_{std::move(socket)} {}

Mux::~Mux() {
  for (auto& [number, weak] : streams_) {
    if (const auto stream = weak.lock()) stream->end();
  }
}

Result<std::shared_ptr<Stream>> Mux::open(std::uint32_t number) {
  if (number < next_) {
    return Error{Errc::conflict, "stream numbers grow: at least " + std::to_string(next_) + " expected, got " +
                                     std::to_string(number)};
  }
  std::erase_if(streams_, [](const auto& entry) { return entry.second.expired(); });
  if (streams_.size() >= kMaxStreams) {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(kMaxStreams) + " streams of one connection"};
  }
  next_ = std::uint64_t{number} + 1;
  auto stream = std::shared_ptr<Stream>(new Stream{socket_, number});  // the constructor is private
  streams_.emplace(number, stream);
  return stream;
}

Result<void> Mux::accept(ByteView message) {
  auto frame = host::decode_frame(message);
  if (!frame) return broken(frame.error().text());
  if (frame->stream >= next_) return broken("stream " + std::to_string(frame->stream) + " was never announced");
  const auto found = streams_.find(frame->stream);
  const auto stream = found == streams_.end() ? nullptr : found->second.lock();
  if (!stream || stream->closed_) return {};  // late data of a stream that ended here
  switch (frame->kind) {
    case host::FrameKind::data:
      if (frame->payload.size() > stream->granted_) return broken("more data than was granted");
      stream->granted_ -= static_cast<std::uint32_t>(frame->payload.size());
      append(stream->incoming_, frame->payload);
      stream->changed_.notify_all();
      break;
    case host::FrameKind::close:
      stream->end();
      break;
    case host::FrameKind::credit:
      stream->credit_ += frame->credit();
      if (stream->credit_ > UINT32_MAX) return broken("more credit than a stream can have");
      stream->changed_.notify_all();
      break;
  }
  return {};
}

runtime::Task<Result<std::string>> Mux::receive_control() {
  for (;;) {
    auto message = co_await socket_->receive();
    if (!message) co_return std::move(message).error();
    if (message->kind == http::WebSocket::Message::Kind::text) co_return std::string{as_text(message->data)};
    auto accepted = accept(message->data);
    if (!accepted) co_return std::move(accepted).error();
  }
}

runtime::Task<Result<void>> Mux::send_control(std::string text) { return socket_->send_text(std::move(text)); }

runtime::Task<void> Mux::close(http::CloseCode code, std::string reason) {
  for (auto& [number, weak] : streams_) {
    if (const auto stream = weak.lock()) stream->end();
  }
  streams_.clear();
  co_await socket_->close(code, std::move(reason));
}

}  // namespace cloister::relay
