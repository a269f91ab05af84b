#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "cloister/attestation/anchors.hpp"
#include "cloister/attestation/verification_cache.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/links/td_link.hpp"
#include "cloister/metrics/families.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/revocation/list.hpp"
#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/session/attested.hpp"

namespace cloister::links {

/// Finds the collateral for a quote; may block while it is fetched. Thread-safe. The attestor asks only for quotes that
/// hold as far as can be seen without collateral.
using CollateralFinder = std::function<Result<evidence::QuoteCollateral>(const evidence::Quote&)>;

/// The server's own evidence over a TD's nonce, for the channel with that handshake hash; may block. Thread-safe.
using ServerProver = std::function<Result<protocol::ServerProof>(ByteView nonce, const Digest32& handshake_hash)>;

/// Whom the server asked for on this stream.
struct Expectation {
  protocol::Role role = protocol::Role::instance;
  std::optional<InstanceId> instance;           // for an instance
  std::optional<ValidatorId> validator;         // over whose host it runs
  std::optional<crypto::Ed25519Public> hotkey;  // for a validator's TD
  policy::ReferenceValue reference;
};

/// Attests TDs: challenge, appraisal, session. What it is made from outlives it. Its tasks run on the link's executor,
/// verification and storage on the pool.
class Attestor {
 public:
  struct Services {
    session::AttestedSessions& sessions;
    runtime::BlockingPool& pool;
    const Clock& clock;
    log::Logger& logger;
    attestation::VerificationCache* cache = nullptr;  // of platforms that were seen before; may be null
    const revocation::List* revoked = nullptr;        // TDs that are refused whatever they prove; null: none
    ServerProver prove = {};                          // empty: the server runs in no TEE that it is told of
    runtime::BlockingPool* proofs = nullptr;          // where `prove` runs, and nothing else that anybody may ask for
    std::chrono::milliseconds proof_patience{20'000};  // for one of them, so that the nonce of the challenge lives on
  };
  Attestor(Services services, CollateralFinder collateral, attestation::TrustAnchors anchors, policy::Policy policy)
      : services_{services}, collateral_{std::move(collateral)}, anchors_{std::move(anchors)}, policy_{std::move(policy)} {}

  /// Challenges the TD and answers it: `accepted` with the session that is returned, or `refused` with the error that
  /// is returned. An instance may demand the server's own evidence once before it attests; where that fails for a while
  /// the link ends with `unavailable`, and where the TD does not take it, with the TD's code. May be repeated on one link,
  /// before the session ends. `deadline_exceeded` when the TD does not answer.
  [[nodiscard]] runtime::Task<Result<session::AttestedSession>> attest(std::shared_ptr<TdLink> link,
                                                                       Expectation expectation, Deadline deadline);
  /// The parts of `attest`, for a link whose messages somebody else receives: what the answer must be bound to,
  [[nodiscard]] runtime::Task<Result<session::Connection>> issue(std::shared_ptr<TdLink> link, Expectation expectation);
  /// the challenge to be sent for it,
  [[nodiscard]] static protocol::ToTd challenge_of(const session::Connection& connection);
  /// and what follows the answer.
  [[nodiscard]] runtime::Task<Result<session::AttestedSession>> conclude(std::shared_ptr<TdLink> link,
                                                                         Expectation expectation,
                                                                         session::Connection connection,
                                                                         protocol::Attest answer);
  /// How long attestations took, and which were refused and why. Thread-safe.
  void write_metrics(metrics::TextWriter& out) const;

 private:
  [[nodiscard]] runtime::Task<Result<void>> show_server(std::shared_ptr<TdLink> link, protocol::Role role, protocol::Demand demand);
  [[nodiscard]] runtime::Task<Result<session::AttestedSession>> ask(std::shared_ptr<TdLink> link,
                                                                    Expectation expectation, Deadline deadline);
  [[nodiscard]] Result<session::AttestedSession> appraise(const protocol::Attest& answer,
                                                          const Expectation& expectation,
                                                          const session::Connection& connection);
  Services services_;
  CollateralFinder collateral_;
  attestation::TrustAnchors anchors_;
  policy::Policy policy_;
  metrics::Histograms duration_{"cloister_attestation_duration_seconds",
                                "From the challenge to the answer that accepts or refuses.", {"role", "outcome"}};
  metrics::Counters refusals_{"cloister_attestation_refusals_total", "Attestations that were refused, by reason.",
                              {"role", "code"}};
};

}  // namespace cloister::links
