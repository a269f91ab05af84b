#pragma once

#include <array>
#include <vector>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister::model {

/// What a server's own TEE measures as (docs/protocol/server.md): of a TD MRTD and RTMR0 to RTMR2, all of them.
struct ServerReference {
  Digest48 mrtd{};
  std::array<Digest48, 3> rtmr{};
  Digest32 configuration_digest{};  // which RTMR3 follows from

  friend bool operator==(const ServerReference&, const ServerReference&) = default;
};
[[nodiscard]] Result<ServerReference> parse_server_reference(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const ServerReference& reference);

/// What a version demands of the server before its instances send it evidence or take keys from it (docs/protocol/server.md,
/// "On a channel"). It proves the server's program, configuration and keys on a genuine platform, and not that the
/// platform's TCB is good today: a TD has no clock that its host could not set back.
struct EvidenceDemand {
  std::vector<ServerReference> references;  // one of which must be met; 1 to 16, each once
  std::vector<Bytes> roots;                 // DER, trusted beside the vendors'; at most 8, of 1 to 4096 bytes, each once
  UnixTime not_before{};                    // what the guest takes for the earliest time that it can be

  friend bool operator==(const EvidenceDemand&, const EvidenceDemand&) = default;
};
[[nodiscard]] Result<EvidenceDemand> parse_evidence_demand(const codec::json::Value& value);
[[nodiscard]] codec::json::Value to_json(const EvidenceDemand& demand);
/// As one item: [[[mrtd, rtmr0, rtmr1, rtmr2, configuration_digest]…], [root…], not_before in microseconds].
void write(codec::cbor::Writer& out, const EvidenceDemand& demand);
/// Refuses what `parse_evidence_demand` refuses; the reader fails then.
[[nodiscard]] EvidenceDemand read_evidence_demand(codec::cbor::Reader& in);

}  // namespace cloister::model
