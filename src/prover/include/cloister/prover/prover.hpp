#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/device/tee_device.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/protocol/server_proof.hpp"
#include "cloister/prover/fair_mutex.hpp"

namespace cloister::prover {

/// Where evidence comes from.
struct Machine {
  /// Opens the TEE; called again after a failure of the device.
  std::function<Result<std::unique_ptr<device::TeeDevice>>()> open;
  /// What verifies the quote, JSON; where it fails, evidence is shown without. May be empty.
  std::function<Result<std::string>(const evidence::Quote&)> collateral;
};

/// Shows what the server runs in and as. Calls block for as long as the TEE does, one after the other in the order in which they
/// came, so that many of one caller keep another waiting for one of them. Thread-safe; what `machine` refers to outlives it.
class Prover {
 public:
  /// Opens the TEE and extends RTMR3 with the configuration's digest in `identity`, unless that was done before in the life
  /// of this TD. `conflict` where RTMR3 holds anything else; the device's errors (`unsupported` in a TEE without registers).
  /// `identity.tls_key` has no say here.
  [[nodiscard]] static Result<std::unique_ptr<Prover>> open(Machine machine, protocol::ServerIdentity identity);

  /// Evidence over this nonce (`invalid_argument` unless it has 16 to 64 bytes). Errors: the device's, after which it is
  /// opened anew by the next call; `conflict` when RTMR3 is not as this server left it; `evidence_unsupported` for
  /// evidence that is no TD's quote; `tee_failure` for a quote over other bytes.
  [[nodiscard]] Result<protocol::ServerProof> prove(ByteView nonce, const std::optional<Digest32>& handshake_hash,
                                                    const std::optional<Digest32>& tls_key);

 private:
  Prover(Machine machine, protocol::ServerIdentity identity);
  [[nodiscard]] Result<void> ensure_open();
  [[nodiscard]] Result<void> measure(device::TeeDevice& device) const;
  [[nodiscard]] Result<device::Quote> quote(const Digest64& report_data);

  const Machine machine_;
  const protocol::ServerIdentity identity_;
  const Bytes event_log_;
  const Digest48 rtmr3_;
  FairMutex mutex_;  // guards the device
  std::unique_ptr<device::TeeDevice> device_;
};

}  // namespace cloister::prover
