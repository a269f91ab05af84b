#include "cloister/links/td_link.hpp"

namespace cloister::links {

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

runtime::Task<Result<void>> TdLink::write(Bytes wire) {
  append(outgoing_, wire);
  if (writing_) co_return Result<void>{};  // whoever writes now takes this along, in order
  writing_ = true;
  while (!outgoing_.empty()) {
    Bytes chunk = std::move(outgoing_);
    outgoing_.clear();
    auto written = co_await stream_->write(std::move(chunk));
    if (!written) co_return std::move(written).error();
  }
  writing_ = false;
  co_return Result<void>{};
}

runtime::Task<Result<void>> TdLink::send(protocol::ToTd message) {
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
