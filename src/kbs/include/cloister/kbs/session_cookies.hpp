#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/rcar/messages.hpp"
#include "cloister/storage/broker_sessions.hpp"

namespace cloister::kbs {

/// Sessions between request and attestation. The server keeps nothing of them, so that strangers who begin any number fill
/// nothing: the guest's cookie says what there is to know, and only this server can have made it. Pure, thread-safe.
///
/// A cookie is `hex(id, tee, tag)`: a UUID of version 7 (RFC 9562 section 5.7), whose milliseconds are when it was made, a
/// number for the TEE, and the tag, 16 bytes. Tag and nonce are HMAC-SHA-256 of tenant, id and TEE under a key that comes
/// from the server's master key, so that they outlive a restart.
class SessionCookies {
 public:
  /// `key` lives as long as this.
  SessionCookies(const crypto::Secret<32>& key, TenantId tenant, std::chrono::seconds lifetime)
      : key_{key}, tenant_{std::move(tenant)}, lifetime_{lifetime} {}

  struct Session {
    storage::broker_sessions::Id id{};
    rcar::Tee tee{};
    UnixTime expires{};
    rcar::Challenge challenge;
  };
  struct Made {
    std::string cookie;
    Session session;
  };
  [[nodiscard]] Made make(rcar::Tee tee, Random& random, UnixTime now) const;

  /// `unauthenticated` for what this server did not make for this tenant; whether it has expired is for the caller to ask.
  [[nodiscard]] Result<Session> read(std::string_view cookie) const;

 private:
  [[nodiscard]] ByteArray<32> mac(std::string_view use, ByteView named) const;
  const crypto::Secret<32>& key_;
  TenantId tenant_;
  std::chrono::seconds lifetime_;
};

}  // namespace cloister::kbs
