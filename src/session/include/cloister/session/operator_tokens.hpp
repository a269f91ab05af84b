#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/curve25519.hpp"

namespace cloister::session {

inline constexpr std::string_view kAdminRole = "admin";    // configuration: challenges, validators, secrets, tokens
inline constexpr std::string_view kClientRole = "client";  // jobs of its tenant
inline constexpr std::string_view kMonitorRole = "monitor";  // state and metrics of the server, nothing else
inline constexpr std::string_view kHostRole = "host";      // a host agent: blobs, while its connection lasts
/// A role that an operator may give to somebody.
[[nodiscard]] bool known_role(std::string_view role) noexcept;

/// What a token says.
struct OperatorClaims {
  std::string id;       // "jti", an id
  std::string subject;  // for people: who has it; 1 to 64 characters of an id
  TenantId tenant;
  std::string role;
  UnixTime issued{};
  UnixTime expires{};
};

/// Makes and verifies the tokens of operators and clients: EdDSA JWTs (RFC 7519, RFC 8037) of this server for this
/// server. Whether a token was revoked, storage knows. Thread-safe: immutable.
class OperatorTokens {
 public:
  /// `server_id` is issuer and audience.
  OperatorTokens(crypto::Ed25519Key key, std::string server_id)
      : key_{std::move(key)}, server_id_{std::move(server_id)} {}

  [[nodiscard]] std::string issue(const OperatorClaims& claims) const;
  /// `unauthenticated` for anything but a token of this server that has not expired at `now`. When it was issued is not compared
  /// with the clock, which may have gone back since.
  [[nodiscard]] Result<OperatorClaims> verify(std::string_view token, UnixTime now) const;

 private:
  crypto::Ed25519Key key_;
  std::string server_id_;
};

}  // namespace cloister::session
