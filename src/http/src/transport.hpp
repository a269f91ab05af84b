#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "cloister/core/bytes.hpp"
#include "tls.hpp"
#include "websocket_core.hpp"

namespace cloister::http {

/// One connected byte stream, plain or TLS. All calls on its executor; one read and one write at a time.
/// Failures: `peer_closed`, `deadline_exceeded` (the time given by `expires_after`; the stream is then useless),
/// `cancelled`, `io_error`.
class Transport {
 public:
  using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, runtime::Executor>;
  using UpgradeRequest = boost::beast::http::request<boost::beast::http::empty_body>;

  Transport() = default;
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  /// The limit for everything that follows, until it is set anew.
  virtual void expires_after(std::chrono::milliseconds span) = 0;
  virtual void expires_never() = 0;
  /// Nothing for plain TCP.
  [[nodiscard]] virtual runtime::Task<Result<void>> handshake() = 0;
  /// What the peer's TLS certificate names as its key (`key_of_peer`), after the handshake; nothing for plain TCP.
  [[nodiscard]] virtual std::optional<Digest32> peer_key() = 0;
  /// How many bytes came; 0 at the orderly end.
  [[nodiscard]] virtual runtime::Task<Result<std::size_t>> read_some(std::span<std::uint8_t> space) = 0;
  /// All of `bytes`, which must live until then.
  [[nodiscard]] virtual runtime::Task<Result<void>> write(ByteView bytes) = 0;
  /// Tells the peer that nothing more comes.
  [[nodiscard]] virtual runtime::Task<void> shutdown() = 0;
  /// After `shutdown`: reads what the peer still sends, which nobody will look at; under TLS it stays encrypted, since
  /// OpenSSL takes no data after its own close_notify. How many bytes came; 0 at the end, or when the connection broke.
  [[nodiscard]] virtual runtime::Task<std::size_t> discard_some(std::span<std::uint8_t> space) = 0;
  virtual void close() noexcept = 0;
  /// False when the peer has closed an idle connection, or has sent what nobody asked for.
  [[nodiscard]] virtual bool quiet() = 0;

  /// Answers an upgrade; the transport is then used up. `subprotocol` is left out when empty.
  [[nodiscard]] virtual runtime::Task<Result<std::shared_ptr<WebSocketCore>>> accept_websocket(
      UpgradeRequest request, std::string subprotocol, WebSocketLimits limits) = 0;
  /// Asks for one; uses the transport up. An answer that is no upgrade: its `response_error`.
  [[nodiscard]] virtual runtime::Task<Result<std::shared_ptr<WebSocketCore>>> open_websocket(
      std::string host, std::string target, Headers headers, WebSocketLimits limits) = 0;
};

/// `tls`: null for plain TCP.
[[nodiscard]] std::unique_ptr<Transport> server_transport(Transport::Socket socket, const TlsContext& tls);
/// `host`: for server name indication.
[[nodiscard]] Result<std::unique_ptr<Transport>> client_transport(Transport::Socket socket, const TlsContext& tls,
                                                                  const std::string& host);

/// What an error of Asio or Beast is here.
[[nodiscard]] Error transport_error(const boost::system::error_code& failure);

}  // namespace cloister::http
