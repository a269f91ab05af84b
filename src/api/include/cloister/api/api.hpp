#pragma once

#include <functional>
#include <string>

#include "cloister/api/monitor.hpp"
#include "cloister/attestation/anchors.hpp"
#include "cloister/audit/log.hpp"
#include "cloister/challenge/registry.hpp"
#include "cloister/core/log.hpp"
#include "cloister/core/random.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/fleet/fleet.hpp"
#include "cloister/http/router.hpp"
#include "cloister/http/server.hpp"
#include "cloister/kbs/broker.hpp"
#include "cloister/keybroker/broker.hpp"
#include "cloister/keyring/keyring.hpp"
#include "cloister/links/attestor.hpp"
#include "cloister/protocol/server_proof.hpp"
#include "cloister/revocation/list.hpp"
#include "cloister/runtime/blocking_pool.hpp"
#include "cloister/scheduler/dispatcher.hpp"
#include "cloister/scheduler/job_service.hpp"
#include "cloister/session/operator_tokens.hpp"
#include "cloister/storage/blobs.hpp"
#include "cloister/storage/database.hpp"

namespace cloister::api {

/// Whose administrators administer the server itself: its validators, its audit log, tokens of other tenants.
inline constexpr std::string_view kServerTenant = "default";

/// Certificates and CRLs for an SNP report beside those that are known; may block while they are fetched. Thread-safe.
using EndorsementsFinder =
    std::function<Result<evidence::SnpEndorsements>(const evidence::SnpReport&, const evidence::SnpEndorsements& known)>;

/// The server's own evidence over the nonce of whoever asks over HTTP. Blocks for as long as its TEE does; called from one
/// thread.
using ServerProver = std::function<Result<protocol::ServerProof>(ByteView nonce)>;

/// What the routes call; all of it outlives the server. Handlers run on the executor of the dispatcher and the fleet.
struct Services {
  storage::Database& database;
  storage::BlobStore& blobs;
  audit::Log& log;
  challenge::Registry& registry;
  keybroker::Broker& broker;
  scheduler::JobService& jobs;
  scheduler::Dispatcher& dispatcher;
  fleet::Fleet& fleet;
  const session::OperatorTokens& tokens;
  keyring::Keyring& result_keys;  // that sign attestation results
  revocation::List& revoked;      // of all tenants' guests
  /// What writes or computes, and what only reads: readers do not wait behind a disk that takes no writes. Both are
  /// stopped before what is named here ends.
  runtime::BlockingPool& pool;
  runtime::BlockingPool& readers;
  const Clock& clock;
  Random& random;
  Monitor& monitor;
  log::Logger& logger;
  /// What evidence is judged by, and with.
  const attestation::TrustAnchors& anchors;
  links::CollateralFinder collateral;
  std::string server_id;
  std::string version;  // of the program
  /// How long a request waits for its work; for the upload of a blob twice as long.
  std::chrono::milliseconds patience{20'000};
  attestation::VerificationCache* cache = nullptr;  // of evidence that is given to be judged; may be null
  kbs::Brokers* guests = nullptr;  // of Confidential Containers; null: no such routes
  bool protocol_administration = true;  // of `guests`, under /kbs/v0, beside the API's own
  bool secure_cookies = false;    // everything comes over TLS
  EndorsementsFinder endorsements = {};  // may be empty: then there are those alone that a request has
  ServerProver prove = {};               // empty: the server runs in no TEE that it is told of
  runtime::BlockingPool* proofs = nullptr;  // where `prove` runs, one after the other; more than wait there get 503
  bool fetches = false;                  // `collateral` and `endorsements` ask services: not for forged evidence
};

/// The bearer tokens of operators, clients and hosts: signature, times, and whether it was revoked.
[[nodiscard]] http::Authenticator make_authenticator(const Services& services);
/// Whose limit a request counts against: a tenant's operators have one, its guests another, so that these do not keep those
/// out. Hosts, strangers, and tenants that nobody administers have none of their own.
[[nodiscard]] http::GroupOf make_group_of(const Services& services);
/// Whether a route's own refusals are in the audit log already: those of the key broker's guests. All others are to be counted there
/// by whoever sees the statuses.
[[nodiscard]] bool counts_its_refusals(std::string_view method, std::string_view pattern);
/// Every route.
[[nodiscard]] http::Router make_router(const Services& services);

/// Issues a token and remembers that it was (so that it can be revoked). Also used for the first administrator.
[[nodiscard]] Result<std::string> issue_token(storage::Database& database, audit::Log& log,
                                              const session::OperatorTokens& tokens,
                                              const session::OperatorClaims& claims, std::string_view by);

}  // namespace cloister::api
