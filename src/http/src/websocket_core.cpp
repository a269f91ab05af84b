#include "websocket_core.hpp"

#include <algorithm>

namespace cloister::http {
namespace {

constexpr std::size_t kMaxCloseReason = 123;  // RFC 6455 section 5.5: control frames hold 125 bytes, two are the code
const Deadline kNever{SteadyTime::max()};

/// Cut to what fits, between characters.
std::string fitting(std::string reason) {
  auto size = std::min(reason.size(), kMaxCloseReason);
  while (size < reason.size() && size > 0 && (static_cast<unsigned char>(reason[size]) & 0xC0U) == 0x80U) --size;
  reason.resize(size);
  return reason;
}

Error closed_before_sent() { return Error{Errc::peer_closed, "the connection ended before the message was sent"}; }

}  // namespace

struct WebSocketCore::Outgoing {
  explicit Outgoing(Message m) : message{std::move(m)} {}
  Message message;
  std::optional<Result<void>> outcome;  // under the core's mutex
  runtime::AsyncEvent done;
};

WebSocketCore::WebSocketCore(runtime::Executor executor, WebSocketLimits limits, std::string remote_address)
    : executor_{std::move(executor)}, limits_{limits}, remote_address_{std::move(remote_address)} {}

void WebSocketCore::start() {
  {
    const std::lock_guard lock{mutex_};
    reading_ = true;
  }
  runtime::post(executor_, [self = shared_from_this()] { self->start_read(); });
}

runtime::Task<Result<WebSocket::Message>> WebSocketCore::receive(std::shared_ptr<WebSocketCore> self) {
  while (true) {
    const auto seen = self->incoming_.version();
    {
      const std::lock_guard lock{self->mutex_};
      if (!self->inbox_.empty()) {
        Message message = std::move(self->inbox_.front());
        self->inbox_.pop_front();
        if (!self->reading_ && !self->ended_) {
          self->reading_ = true;
          runtime::post(self->executor_, [self] { self->start_read(); });
        }
        co_return message;
      }
      if (self->ended_) co_return *self->ended_;
    }
    auto changed = co_await self->incoming_.wait(seen, kNever);
    if (!changed) co_return std::move(changed).error();
  }
}

void WebSocketCore::on_read(Result<Message> message) {
  if (!message) return end(message.error());
  bool more = false;
  {
    const std::lock_guard lock{mutex_};
    if (ended_) return;
    inbox_.push_back(std::move(*message));
    more = inbox_.size() < limits_.max_unread_messages;
    reading_ = more;
  }
  incoming_.notify_all();
  if (more) start_read();
}

Result<std::shared_ptr<WebSocketCore::Outgoing>> WebSocketCore::enqueue(Message message) {
  const std::lock_guard lock{mutex_};
  if (ended_ || closing_) return closed_before_sent();
  const auto size = message.data.size();
  if (outbox_.size() >= limits_.max_queued_messages || size > limits_.max_queued_bytes - outbox_bytes_) {
    return Error{Errc::overloaded, "the outgoing queue of the connection is full"};
  }
  auto entry = std::make_shared<Outgoing>(std::move(message));
  outbox_.push_back(entry);
  outbox_bytes_ += size;
  if (!writing_) {
    writing_ = true;
    runtime::post(executor_, [self = shared_from_this()] { self->write_next(); });
  }
  return entry;
}

runtime::Task<Result<void>> WebSocketCore::send(std::shared_ptr<WebSocketCore> self, Message message) {
  auto entry = self->enqueue(std::move(message));
  if (!entry) co_return std::move(entry).error();
  const auto queued = *entry;
  while (true) {
    const auto seen = queued->done.version();
    {
      const std::lock_guard lock{self->mutex_};
      if (queued->outcome) co_return *queued->outcome;
    }
    auto changed = co_await queued->done.wait(seen, kNever);
    if (!changed) co_return std::move(changed).error();
  }
}

/// On the executor, while writing_: starts the next message or the close frame, or rests.
void WebSocketCore::write_next() {
  std::shared_ptr<Outgoing> next;
  std::optional<Closing> close;
  {
    const std::lock_guard lock{mutex_};
    if (ended_) return;
    if (!outbox_.empty()) next = outbox_.front();
    else if (closing_) close = closing_;
    else writing_ = false;
  }
  if (next) start_write(next->message);
  else if (close) start_close(close->code, close->reason);
}

void WebSocketCore::on_written(Result<void> outcome) {
  std::shared_ptr<Outgoing> written;
  {
    const std::lock_guard lock{mutex_};
    if (ended_) return;
    written = outbox_.front();
    outbox_.pop_front();
    outbox_bytes_ -= written->message.data.size();
    written->outcome = outcome;
  }
  written->done.notify_all();
  if (!outcome) return end(outcome.error());
  write_next();
}

void WebSocketCore::begin_close(CloseCode code, std::string reason) {
  const std::lock_guard lock{mutex_};
  if (ended_ || closing_) return;
  closing_ = Closing{code, fitting(std::move(reason))};
  if (writing_) return;
  writing_ = true;
  runtime::post(executor_, [self = shared_from_this()] { self->write_next(); });
}

void WebSocketCore::on_closed() { end(Error{Errc::peer_closed, "the connection was closed"}); }

void WebSocketCore::kill() {
  runtime::post(executor_, [self = shared_from_this()] {
    self->end(Error{Errc::cancelled, "the connection was dropped"});
  });
}

void WebSocketCore::end(const Error& why) {
  std::deque<std::shared_ptr<Outgoing>> dropped;
  {
    const std::lock_guard lock{mutex_};
    if (ended_) return;
    ended_ = why;
    // The one being written stays: the operation still reads it.
    dropped = outbox_;
    for (const auto& entry : dropped) entry->outcome = Result<void>{closed_before_sent()};
  }
  for (const auto& entry : dropped) entry->done.notify_all();
  incoming_.notify_all();
  ending_.notify_all();
  abort();
}

runtime::Task<void> WebSocketCore::ended(std::shared_ptr<WebSocketCore> self) {
  while (true) {
    const auto seen = self->ending_.version();
    {
      const std::lock_guard lock{self->mutex_};
      if (self->ended_) co_return;
    }
    const auto changed = co_await self->ending_.wait(seen, kNever);
    if (!changed) co_return;
  }
}

namespace {

class Handle final : public WebSocket {
 public:
  explicit Handle(std::shared_ptr<WebSocketCore> core) : core_{std::move(core)} {}
  ~Handle() override { core_->begin_close(CloseCode::normal, ""); }

  runtime::Task<Result<Message>> receive() override { return WebSocketCore::receive(core_); }
  runtime::Task<Result<void>> send_text(std::string text) override {
    return WebSocketCore::send(core_, Message{Message::Kind::text, to_bytes(text)});
  }
  runtime::Task<Result<void>> send_binary(Bytes data) override {
    return WebSocketCore::send(core_, Message{Message::Kind::binary, std::move(data)});
  }
  runtime::Task<void> close(CloseCode code, std::string reason) override {
    core_->begin_close(code, std::move(reason));
    return WebSocketCore::ended(core_);
  }
  std::string remote_address() const override { return core_->remote_address(); }

 private:
  std::shared_ptr<WebSocketCore> core_;
};

}  // namespace

std::shared_ptr<WebSocket> make_websocket(std::shared_ptr<WebSocketCore> core) {
  return std::make_shared<Handle>(std::move(core));
}

}  // namespace cloister::http
