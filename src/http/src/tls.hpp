#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <optional>

#include "cloister/http/client.hpp"
#include "cloister/http/server.hpp"

namespace cloister::http {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

/// TLS 1.3 only, with the certificate chain and key of these files, which must belong together.
[[nodiscard]] Result<TlsContext> server_tls(const TlsFiles& files);

/// TLS 1.3, and 1.2 where that is allowed. Chain and name are checked for `host`, or the pin alone where there is one.
[[nodiscard]] Result<TlsContext> client_tls(const ClientTls& options, const std::string& host);

/// SHA-256 of the SubjectPublicKeyInfo (DER) of the certificate that the context serves with, or of that which the peer of
/// a connection showed; nothing where there is none.
[[nodiscard]] std::optional<Digest32> key_served_by(const TlsContext& context);
[[nodiscard]] std::optional<Digest32> key_of_peer(const SSL* connection);

}  // namespace cloister::http
