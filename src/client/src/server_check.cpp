#include "cloister/client/server_check.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"

namespace cloister::client {

policy::TrustFile VerifiedServer::narrowed(policy::TrustFile trust) const {
  const auto& bound = server.identity().channel_keys;
  if (trust.server_keys.empty()) {
    trust.server_keys = bound;
  } else {  // the current one is in both: the appraisal saw to that
    std::erase_if(trust.server_keys, [&](const auto& key) { return std::ranges::find(bound, key) == bound.end(); });
  }
  return trust;
}

Result<VerifiedServer> verify_server(const Orchestrator::ShownServer& shown, ByteView nonce, const policy::TrustFile& trust,
                                     UnixTime now) {
  CLOISTER_TRY(server, policy::appraise_server(shown.proof, {nonce, {}}, trust, now));
  if (!shown.peer_key) return VerifiedServer{std::move(server), false};
  const auto& bound = server.identity().tls_key;
  if (bound != shown.peer_key) {
    return Error{Errc::binding_mismatch, "this connection has the TLS key " + codec::to_hex(*shown.peer_key) + ", the server's evidence " +
                                             (bound ? "binds " + codec::to_hex(*bound) : std::string{"binds none"})};
  }
  return VerifiedServer{std::move(server), true};
}

Result<AttestedConnection> connect_attested(const std::string& base_url, std::optional<std::string> bearer,
                                            const http::ClientTls& tls, const policy::TrustFile& trust, const Clock& clock,
                                            Random& random) {
  CLOISTER_TRY(orchestrator, Orchestrator::connect(base_url, std::move(bearer), tls));
  CLOISTER_TRY(stranger, Orchestrator::connect(base_url, std::nullopt, tls));
  ByteArray<32> nonce{};
  random.fill(nonce);
  CLOISTER_TRY(shown, stranger.show_server(nonce));
  CLOISTER_TRY(server, verify_server(shown, nonce, trust, clock.now()));
  if (shown.peer_key) orchestrator.hold_to(*shown.peer_key);
  return AttestedConnection{std::move(orchestrator), std::move(server)};
}

}  // namespace cloister::client
