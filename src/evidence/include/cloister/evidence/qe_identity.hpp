#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/tcb_info.hpp"

/// The identity of a quoting enclave (PCS API v3 and v4, "Get SGX/TDX QE Identity"), version 2.
namespace cloister::evidence {

enum class EnclaveId { qe, td_qe };
[[nodiscard]] std::string_view to_string(EnclaveId id) noexcept;  // "QE", "TD_QE"

struct QeIdentity {
  EnclaveId id = EnclaveId::qe;
  std::uint32_t version = 2;
  UnixTime issue_date{};
  UnixTime next_update{};
  std::uint32_t tcb_evaluation_data_number = 0;
  std::uint32_t misc_select = 0;  // the document's four bytes read little-endian, as in a report
  std::uint32_t misc_select_mask = 0;
  ByteArray<16> attributes{};
  ByteArray<16> attributes_mask{};
  Digest32 mr_signer{};
  std::uint16_t isv_prod_id = 0;
  std::vector<IsvTcbLevel> levels;

  friend bool operator==(const QeIdentity&, const QeIdentity&) = default;
};

/// With what was signed, byte for byte. Nothing was verified.
struct SignedQeIdentity {
  QeIdentity identity;
  HashedText body;           // the `enclaveIdentity` value as it stood
  ByteArray<64> signature{};  // r || s, ECDSA P-256 with SHA-256
};

/// {"enclaveIdentity":{…},"signature":"…"}. Errors as for TCB Info.
[[nodiscard]] Result<SignedQeIdentity> parse_qe_identity(std::string_view envelope);
[[nodiscard]] Result<QeIdentity> parse_qe_identity_body(std::string_view body);
/// parse_qe_identity_body(write_qe_identity_body(x)) == x.
[[nodiscard]] std::string write_qe_identity_body(const QeIdentity& identity);
[[nodiscard]] std::string write_qe_identity(std::string_view body, const ByteArray<64>& signature);

}  // namespace cloister::evidence
