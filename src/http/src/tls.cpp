#include "tls.hpp"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>

#include "cloister/core/bytes.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::http {
namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
namespace {

Error unusable(std::string what, const boost::system::error_code& why) {
  return Error{Errc::configuration_invalid, std::move(what) + ": " + why.message()};
}

bool only_tls13(ssl::context& context) {
  // What was decrypted does not stay in OpenSSL's buffer once it was read from there.
  SSL_CTX_set_options(context.native_handle(), SSL_OP_CLEANSE_PLAINTEXT);
  return SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_3_VERSION) == 1;
}

/// TLS 1.2 beside 1.3: ECDHE with AES-GCM or ChaCha20-Poly1305 (RFC 9325 section 4.2), signatures and keys of 112 bits and
/// more (OpenSSL's level 2: no SHA-1, RSA from 2048 bits), no renegotiation.
bool tls12_too(ssl::context& context) {
  constexpr auto* kSuites =
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
  auto* const handle = context.native_handle();
  SSL_CTX_set_security_level(handle, 2);
  SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION);
  return SSL_CTX_set_cipher_list(handle, kSuites) == 1 && SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION) == 1;
}

Result<void> still_valid(ssl::context& context, const std::filesystem::path& file) {
  const X509* leaf = SSL_CTX_get0_certificate(context.native_handle());
  if (leaf != nullptr && X509_cmp_current_time(X509_get0_notAfter(leaf)) > 0) return {};
  return Error{Errc::configuration_invalid, "TLS certificate " + file.string() + ": it has expired, renew it"};
}

/// The certificate is to be of this DNS name or address.
bool expect_name(ssl::context& context, const std::string& host) {
  X509_VERIFY_PARAM* const param = SSL_CTX_get0_param(context.native_handle());
  boost::system::error_code no_address;
  asio::ip::make_address(host, no_address);
  if (!no_address) return X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str()) == 1;
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return X509_VERIFY_PARAM_set1_host(param, host.data(), host.size()) == 1;
}

bool leaf_matches(const Digest32& pin, ssl::verify_context& verification) {
  const X509* leaf = X509_STORE_CTX_get0_cert(verification.native_handle());
  Digest32 digest{};
  unsigned size = 0;
  const bool hashed = leaf != nullptr && X509_digest(leaf, EVP_sha256(), digest.data(), &size) == 1;
  if (hashed && size == digest.size() && digest == pin) return true;
  X509_STORE_CTX_set_error(verification.native_handle(), X509_V_ERR_CERT_REJECTED);
  return false;
}

/// X509_pubkey_digest hashes the key's bits alone: what names a key is all of its SubjectPublicKeyInfo (RFC 7469 section 2.4).
std::optional<Digest32> key_of(const X509* certificate) {
  if (certificate == nullptr) return std::nullopt;
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return std::nullopt;
  const auto digest = crypto::sha256(ByteView{der, static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return digest;
}

}  // namespace

std::optional<Digest32> key_served_by(const TlsContext& context) {
  return context ? key_of(SSL_CTX_get0_certificate(context->native_handle())) : std::nullopt;
}

std::optional<Digest32> key_of_peer(const SSL* connection) { return key_of(SSL_get0_peer_certificate(connection)); }

Result<TlsContext> server_tls(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  boost::system::error_code failure;
  if (!only_tls13(*context)) return Error{Errc::crypto_failure, "TLS 1.3 is not available"};
  context->use_certificate_chain_file(files.certificate.string(), failure);
  if (failure) return unusable("TLS certificate " + files.certificate.string(), failure);
  context->use_private_key_file(files.key.string(), ssl::context::pem, failure);
  if (failure) return unusable("TLS key " + files.key.string(), failure);
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return Error{Errc::configuration_invalid, "the TLS key is not that of the certificate"};
  }
  CLOISTER_CHECK(still_valid(*context, files.certificate));
  return context;
}

Result<TlsContext> client_tls(const ClientTls& options, const std::string& host) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  boost::system::error_code failure;
  if (!only_tls13(*context)) return Error{Errc::crypto_failure, "TLS 1.3 is not available"};
  if (options.allow_tls12 && !tls12_too(*context)) return Error{Errc::crypto_failure, "TLS 1.2 is not available"};
  context->set_verify_mode(ssl::verify_peer);
  if (options.pinned_certificate) {
    // Called for each certificate of the chain with what OpenSSL thinks of it; only the leaf counts here.
    context->set_verify_callback([pin = *options.pinned_certificate](bool, ssl::verify_context& verification) {
      return leaf_matches(pin, verification);
    });
    return context;
  }
  if (options.ca_pem) context->add_certificate_authority(asio::buffer(*options.ca_pem), failure);
  else context->set_default_verify_paths(failure);
  if (failure) return unusable("TLS authorities", failure);
  // A trusted certificate ends a chain also when it is not self-signed: a server's own may be given.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->native_handle()), X509_V_FLAG_PARTIAL_CHAIN);
  if (!expect_name(*context, host)) return Error{Errc::invalid_argument, "a host name or an address expected: " + host};
  return context;
}

}  // namespace cloister::http
