#pragma once

#include <memory>
#include <utility>

#include "cloister/lab/platform.hpp"
#include "cloister/model/evidence_demand.hpp"
#include "cloister/prover/prover.hpp"

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
      return std::unique_ptr<device::TeeDevice>{new Device{platform_, td_}};
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
  class Device final : public device::TeeDevice {
   public:
    Device(const lab::Platform& platform, std::shared_ptr<lab::tdx::Td> td) : platform_{platform}, td_{std::move(td)} {}
    Result<Bytes> report(const Digest64& report_data) override { return to_bytes(*td_->tdg_mr_report(report_data)); }
    Result<void> extend_rtmr(unsigned index, const Digest48& digest) override {
      const auto status = td_->tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, index, digest);
      return status.ok() ? Result<void>{} : Error{Errc::permission_denied, "extend"};
    }
    Result<device::Quote> quote(const Digest64& report_data) override {
      CLOISTER_TRY(made, report(report_data));
      CLOISTER_TRY(evidence, platform_.quote(made));
      return device::Quote{.evidence = std::move(evidence), .collateral = {}};
    }

   private:
    const lab::Platform& platform_;
    std::shared_ptr<lab::tdx::Td> td_;
  };

  UnixTime issued_;
  lab::Platform platform_;
  std::shared_ptr<lab::tdx::Td> td_;
  std::unique_ptr<prover::Prover> prover_;
};

}  // namespace cloister::test
