#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/kbs/guest.hpp"
#include "cloister/kbs/revocations.hpp"
#include "cloister/kbs/rule_book.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/kbs/session_cookies.hpp"
#include "cloister/kbs/unrecorded.hpp"
#include "cloister/rcar/attestation.hpp"
#include "cloister/rcar/messages.hpp"

namespace cloister::kbs {

/// Request, challenge, attestation: from a guest's evidence to its token. Thread-safe.
class Handshakes {
 public:
  Handshakes(const Services& services, const Options& options, const RuleBook& rules, const GuestTokens& tokens,
             const Revocations& revocations)
      : services_{services}, options_{options}, rules_{rules}, tokens_{tokens}, revocations_{revocations},
        cookies_{services.session_key, options.tenant, options.session_lifetime} {}

  struct Opened {
    std::string session;  // the cookie: hex
    std::string challenge;
    std::chrono::seconds lifetime;
  };
  /// Begins a handshake. The session is in its cookie, and nowhere else before its attempt. Errors: those of
  /// `rcar::parse_request`; `evidence_unsupported` for a TEE that is not verified here, with those that are.
  [[nodiscard]] Result<Opened> begin(std::string_view request, UnixTime now);

  /// The token of evidence that is authentic and bound to the session's nonce and the guest's key, whatever the
  /// attestation policy says of it: the token says that. A message that can be read uses the session up, whether it
  /// succeeds or not; of two at once one wins. `unauthenticated` without a session of this server's, and for one that has
  /// expired; `nonce_invalid` for one that was used, and for another nonce; `report_data_mismatch`; `attestation_revoked`;
  /// the errors of `rcar::parse_attestation` and of verifiers.
  /// `done(Result<std::string>)` hears it once, in this call or on the thread of `Services::writes`.
  void attest(std::string_view session, std::string_view message, UnixTime now, std::function<void(Result<std::string>)> done);

  /// The token of a session that was attested; `unauthenticated` where there is none; of the storage.
  [[nodiscard]] Result<std::string> token_of(std::string_view session, UnixTime now) const;

  /// A session as administrators see it: without its id, which is a credential.
  struct Session {
    std::string name;  // SHA-256 of its id, hex
    std::string tee;
    UnixTime expires{};
    std::optional<AttestedGuest> guest;  // where it has a token that is still good
    bool revoked = false;                // such a guest
  };
  /// Those that had their attempt and have not expired, or of these only those that got a token, since strangers can try any
  /// number; at most `limit`, the youngest first.
  [[nodiscard]] Result<std::vector<Session>> sessions(std::uint32_t limit, bool attested_only, UnixTime now) const;

 private:
  struct Appraised;
  [[nodiscard]] Result<Opened> open(std::string_view request, UnixTime now);
  [[nodiscard]] Result<void> verified_here(rcar::Tee tee) const;
  [[nodiscard]] Result<SessionCookies::Session> pending(std::string_view cookie, UnixTime now) const;
  [[nodiscard]] Result<Appraised> appraise(const SessionCookies::Session& session, const rcar::Attestation& message,
                                           UnixTime now) const;
  /// What an attempt came to, and the name of the TEE once it is known. The error of one that is none.
  [[nodiscard]] Result<Unrecorded<std::string>> attempt(std::string_view session, std::string_view message, UnixTime now,
                                                        std::string& tee) const;
  [[nodiscard]] Unrecorded<std::string> conclude(const SessionCookies::Session& session, const rcar::Attestation& message,
                                                 const Result<Appraised>& appraised, UnixTime now) const;
  void count(const Result<std::string>& token, const std::string& tee, UnixTime now) const;
  const Services& services_;
  const Options& options_;
  const RuleBook& rules_;
  const GuestTokens& tokens_;
  const Revocations& revocations_;
  SessionCookies cookies_;
};

}  // namespace cloister::kbs
