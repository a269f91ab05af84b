#pragma once

#include <memory>
#include <utility>

#include "cloister/lab/platform.hpp"
#include "cloister/model/evidence_demand.hpp"
#include "cloister/prover/prover.hpp"
#include "lab_td.hpp"

namespace cloister::test {

/// A server in a TD of a lab machine of its own: what shows its evidence, and what whoever demands it would name.
class LabServer {
 public:
  /// Collateral is issued a day before `now`, and holds for as long as the lab's does.
  LabServer(UnixTime now, std::vector<ByteArray<32>> channel_keys)
      : issued_{now - std::chrono::hours{24}},
        platform_{lab::Platform::create(crypto::Secret<32>{ByteArray<32>{77}}, now - std::chrono::hours{48})} {
    const Bytes program(5000, 0x11);
    const measure::TdFile file{"cloisterd", 0755, program};
    auto td = *platform_.launch({}, {&file, 1});
    identity.server_id = "srv-example";
    identity.channel_keys = std::move(channel_keys);
    identity.audit_key = ByteArray<32>{3};
    identity.configuration_digest = Digest32{5};
    demand.references = {{td.mrtd(), {}, identity.configuration_digest}};
    demand.roots = {to_bytes(platform_.root())};
    demand.not_before = issued_;
    td_ = std::make_shared<lab::tdx::Td>(std::move(td));
    prover::Machine machine;
    machine.open = [this]() -> Result<std::unique_ptr<device::TeeDevice>> {
      return std::unique_ptr<device::TeeDevice>{new LabTd{platform_, td_}};
    };
    machine.collateral = [this](const evidence::Quote&) -> Result<std::string> {
      if (without_collateral) return Error{Errc::collateral_missing, "gone"};
      return evidence::write_quote_collateral(platform_.collateral(issued_));
    };
    prover_ = *prover::Prover::open(std::move(machine), identity);
  }
  LabServer(const LabServer&) = delete;
  LabServer& operator=(const LabServer&) = delete;

  [[nodiscard]] Result<protocol::ServerProof> prove(ByteView nonce, const std::optional<Digest32>& handshake_hash) {
    return prover_->prove(nonce, handshake_hash, std::nullopt);
  }

  protocol::ServerIdentity identity;
  model::EvidenceDemand demand;  // which this server meets
  bool without_collateral = false;

 private:
  UnixTime issued_;
  lab::Platform platform_;
  std::shared_ptr<lab::tdx::Td> td_;
  std::unique_ptr<prover::Prover> prover_;
};

}  // namespace cloister::test
