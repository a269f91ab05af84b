#include "cloister/links/td_link.hpp"

#include <algorithm>
#include <utility>

namespace cloister::links {
namespace {

/// What a TD must take within `kPatience`.
constexpr std::size_t kPiece = 256U << 10;
constexpr std::chrono::seconds kPatience{60};

}  // namespace

runtime::Task<Result<std::shared_ptr<TdLink>>> TdLink::accept(std::shared_ptr<relay::Stream> stream,
                                                              std::vector<const crypto::X25519Key*> keys,
                                                              protocol::Role role, Random* random,
                                                              const Clock* clock) {
  channel::Responder responder{keys, role, *random};
  for (;;) {
    auto bytes = co_await stream->read();
    if (!bytes) co_return std::move(bytes).error();
    auto accepted = responder.feed(*bytes);
    if (!accepted) co_return std::move(accepted).error();
    if (!*accepted) continue;
    auto link = std::shared_ptr<TdLink>(new TdLink{std::move(stream), std::move((*accepted)->transport), *clock});
    auto written = co_await link->write(std::move((*accepted)->reply));
    if (!written) co_return std::move(written).error();
    // What came behind the handshake waits inside the transport.
    auto behind = link->transport_.feed({});
    if (!behind) co_return std::move(behind).error();
    for (auto& message : behind->messages) link->received_.push_back(std::move(message));
    link->peer_closed_ = behind->closed;
    co_return link;
  }
}

/// While somebody writes. A writer that is unwound leaves half a frame, so the link has failed then.
class TdLink::Writing {
 public:
  explicit Writing(TdLink& link) : link_{link} { link_.writing_ = true; }
  ~Writing() {
    if (!ended_) link_.fail(Error{Errc::cancelled, "a message was cut off"});
    link_.writing_ = false;
    link_.progress_.notify_all();
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;
  void end() { ended_ = true; }

 private:
  TdLink& link_;
  bool ended_ = false;
};

void TdLink::fail(Error why) {
  if (!failed_) failed_ = std::move(why);
  outgoing_.clear();
  progress_.notify_all();
}

runtime::Task<Result<void>> TdLink::write(Bytes wire) {
  if (failed_) co_return *failed_;
  append(outgoing_, wire);
  sealed_ += wire.size();
  const auto mine = sealed_;
  if (!writing_) co_return co_await write_all();
  // Somebody writes, and takes this along in its order.
  const Deadline never{SteadyTime::max()};
  for (auto seen = progress_.version(); written_ < mine; seen = progress_.version()) {
    if (failed_) co_return *failed_;
    auto waited = co_await progress_.wait(seen, never);
    if (!waited) co_return std::move(waited).error();
  }
  co_return Result<void>{};
}

runtime::Task<Result<void>> TdLink::write_all() {
  Writing writing{*this};
  while (!outgoing_.empty()) {
    const Bytes taken = std::exchange(outgoing_, {});
    for (ByteView rest{taken}; !rest.empty();) {
      const auto piece = rest.first(std::min(rest.size(), kPiece));
      auto sending = stream_->write(to_bytes(piece));
      auto sent = co_await runtime::with_deadline(Deadline::after(clock_, kPatience), std::move(sending));
      if (!sent) {
        fail(sent.error());
        writing.end();
        co_await stream_->close();
        co_return sent;
      }
      rest = rest.subspan(piece.size());
      written_ += piece.size();
    }
    progress_.notify_all();
  }
  writing.end();
  co_return Result<void>{};
}

runtime::Task<Result<void>> TdLink::send(protocol::ToTd message) {
  if (failed_) co_return *failed_;
  Bytes bytes;
  if (const auto now = clock_.steady(); now - rekeyed_ >= channel::kRekeyInterval) {
    auto renewal = transport_.rekey();
    if (!renewal) co_return std::move(renewal).error();
    append(bytes, *renewal);
    rekeyed_ = now;
  }
  auto wire = transport_.seal(protocol::encode(message));
  if (!wire) co_return std::move(wire).error();
  append(bytes, *wire);
  co_return co_await write(std::move(bytes));
}

runtime::Task<Error> TdLink::refuse(Error why) {
  protocol::ToTd refused = protocol::Refused{std::string{to_string(why.code())}, why.detail().substr(0, 500)};
  static_cast<void>(co_await send(std::move(refused)));
  co_return why;
}

runtime::Task<Result<protocol::ToServer>> TdLink::receive() {
  while (received_.empty()) {
    if (peer_closed_) co_return Error{Errc::peer_closed, "the TD closed its channel"};
    auto bytes = co_await stream_->read();
    if (!bytes) {
      auto end = transport_.end_of_stream();
      co_return end ? std::move(bytes).error() : std::move(end).error();
    }
    auto got = transport_.feed(*bytes);
    if (!got) co_return std::move(got).error();
    for (auto& message : got->messages) received_.push_back(std::move(message));
    peer_closed_ = got->closed;
  }
  const Bytes message = std::move(received_.front());
  received_.pop_front();
  co_return protocol::decode_to_server(message);
}

runtime::Task<void> TdLink::close() {
  if (auto wire = transport_.close()) {
    Bytes bytes = *std::move(wire);
    static_cast<void>(co_await write(std::move(bytes)));
  }
  co_await stream_->close();
}

}  // namespace cloister::links
