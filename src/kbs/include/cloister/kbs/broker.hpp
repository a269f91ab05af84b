#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "cloister/core/ids.hpp"
#include "cloister/core/result.hpp"
#include "cloister/kbs/advisor.hpp"
#include "cloister/kbs/gate.hpp"
#include "cloister/kbs/guest.hpp"
#include "cloister/kbs/handshakes.hpp"
#include "cloister/kbs/revocations.hpp"
#include "cloister/kbs/rule_book.hpp"
#include "cloister/kbs/services.hpp"
#include "cloister/kbs/vault.hpp"

/// The broker's side of RCAR: request, challenge, attestation, response, and then resources.
namespace cloister::kbs {

/// The broker of one tenant: its parts, each with one job. Thread-safe.
class Broker {
 public:
  /// `policy_invalid` when a policy that was set before does not compile any more; of the storage.
  [[nodiscard]] static Result<std::unique_ptr<Broker>> open(Services services, Options options);
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  [[nodiscard]] const TenantId& tenant() const noexcept { return options_.tenant; }
  [[nodiscard]] RuleBook& rules() noexcept { return rules_; }
  [[nodiscard]] const Advisor& advisor() const noexcept { return advisor_; }
  [[nodiscard]] Handshakes& handshakes() noexcept { return handshakes_; }
  [[nodiscard]] Gate& gate() noexcept { return gate_; }
  [[nodiscard]] Vault& vault() noexcept { return vault_; }
  [[nodiscard]] Revocations& revocations() noexcept { return revocations_; }
  [[nodiscard]] Meters& meters() noexcept { return services_.meters; }
  /// Where what is `Unrecorded` goes.
  [[nodiscard]] storage::WriteQueue& writes() noexcept { return services_.writes; }

 private:
  Broker(Services services, Options options);
  Services services_;
  Options options_;
  RuleBook rules_;
  GuestTokens tokens_;
  Revocations revocations_;
  Handshakes handshakes_;
  Vault vault_;
  Gate gate_;
  Advisor advisor_;
};

/// The brokers of a server's tenants, each opened when it is first asked for. Thread-safe.
class Brokers {
 public:
  /// Opens that of `options.tenant`, whose guests name no tenant; the options hold for all others too. The errors of
  /// `Broker::open`.
  [[nodiscard]] static Result<std::unique_ptr<Brokers>> open(Services services, Options options);

  [[nodiscard]] Broker& main() noexcept { return *main_; }
  /// `not_found` for a tenant that never had an administrator; the errors of `Broker::open`.
  [[nodiscard]] Result<Broker*> find(const TenantId& tenant);
  /// As `find`; for a tenant that never had an administrator one that has nothing to release, and answers strangers as any other
  /// does.
  [[nodiscard]] Result<Broker*> serving(const TenantId& tenant);
  /// That of this tenant where it was opened, else null. Waits for nothing.
  [[nodiscard]] Broker* opened(const TenantId& tenant);
  [[nodiscard]] const Meters& meters() const noexcept { return services_.meters; }

 private:
  Brokers(Services services, Options options) : services_{std::move(services)}, options_{std::move(options)} {}
  Services services_;
  Options options_;
  Broker* main_ = nullptr;
  std::unique_ptr<Broker> nobody_;  // of no tenant
  std::mutex opening_;  // one at a time; the others are served meanwhile
  std::mutex mutex_;    // guards the one below
  std::map<TenantId, std::unique_ptr<Broker>> brokers_;  // what is in it stays
};

}  // namespace cloister::kbs
