#pragma once

#include <optional>
#include <string>

#include "cloister/client/orchestrator.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/policy/server.hpp"
#include "cloister/policy/trust_file.hpp"

/// A client that demands the server's own evidence (docs/protocol/server.md) before it trusts it with anything.
namespace cloister::client {

/// A server whose evidence this client verified itself.
struct VerifiedServer {
  policy::AppraisedServer server;
  /// Whether the evidence binds the TLS key of the connection that it came over. False over plain HTTP alone, where nothing
  /// could: what was proved is then that there is such a server, not that it is at the other end.
  bool connection_bound = false;

  /// `trust` for whatever follows: an instance must have shaken hands with a channel key that this server bound.
  [[nodiscard]] policy::TrustFile narrowed(policy::TrustFile trust) const;
};

/// Appraises what the server showed over `nonce`, and holds its TLS key against that of the connection: `binding_mismatch`
/// where they differ. Else as `policy::appraise_server`. Pure.
[[nodiscard]] Result<VerifiedServer> verify_server(const Orchestrator::ShownServer& shown, ByteView nonce,
                                                   const policy::TrustFile& trust, UnixTime now);

struct AttestedConnection {
  Orchestrator orchestrator;
  VerifiedServer server;
};
/// As `Orchestrator::connect`, to a server that proved itself: it is asked over a nonce of its own, without the token, and
/// the connection that is returned sends nothing to any other TLS key. Errors: those of asking (`not_found`: it does not run
/// in a TEE), and of `verify_server`.
[[nodiscard]] Result<AttestedConnection> connect_attested(const std::string& base_url, std::optional<std::string> bearer,
                                                          const http::ClientTls& tls, const policy::TrustFile& trust,
                                                          const Clock& clock, Random& random);

}  // namespace cloister::client
