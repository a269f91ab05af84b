#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/hashed_text.hpp"

/// TCB Info as Intel's Provisioning Certification Service gives it (PCS API v3 and v4, "Get SGX/TDX TCB Info"):
/// versions 2 (SGX) and 3 (SGX, TDX). Members that this does not know are left alone: the documents grow.
namespace cloister::evidence {

/// What a document may say of a level; any other text is refused.
enum class TcbStatus {
  up_to_date,
  sw_hardening_needed,
  configuration_needed,
  configuration_and_sw_hardening_needed,
  out_of_date,
  out_of_date_configuration_needed,
  revoked,
};
/// Intel's spelling, "UpToDate".
[[nodiscard]] std::string_view to_string(TcbStatus status) noexcept;
[[nodiscard]] std::optional<TcbStatus> tcb_status_from_string(std::string_view text) noexcept;

inline constexpr std::size_t kMaxTcbLevels = 256;
inline constexpr std::size_t kMaxModuleIdentities = 64;
inline constexpr std::size_t kMaxAdvisories = 256;
inline constexpr std::size_t kMaxTcbDocumentSize = 1U << 20;

/// A level of an enclave or of the TDX module: by ISVSVN.
struct IsvTcbLevel {
  std::uint16_t isv_svn = 0;
  UnixTime tcb_date{};
  TcbStatus status = TcbStatus::up_to_date;
  std::vector<std::string> advisory_ids;

  friend bool operator==(const IsvTcbLevel&, const IsvTcbLevel&) = default;
};

struct TdxModule {
  Digest48 mr_signer{};
  ByteArray<8> attributes{};
  ByteArray<8> attributes_mask{};

  friend bool operator==(const TdxModule&, const TdxModule&) = default;
};

struct TdxModuleIdentity {
  std::string id;  // "TDX_03": the module's major version in hex
  TdxModule module;
  std::vector<IsvTcbLevel> levels;

  friend bool operator==(const TdxModuleIdentity&, const TdxModuleIdentity&) = default;
};

struct TcbComponent {
  std::uint8_t svn = 0;
  std::string category;  // "BIOS", "OS/VMM"; empty when not given
  std::string type;      // "Early Microcode Update", …; empty when not given

  friend bool operator==(const TcbComponent&, const TcbComponent&) = default;
};
using TcbComponents = std::array<TcbComponent, 16>;

/// A level of the platform, in the document's order (which decides).
struct TcbLevel {
  TcbComponents sgx;
  std::uint16_t pce_svn = 0;
  std::optional<TcbComponents> tdx;  // exactly in TDX documents
  UnixTime tcb_date{};
  TcbStatus status = TcbStatus::up_to_date;
  std::vector<std::string> advisory_ids;

  friend bool operator==(const TcbLevel&, const TcbLevel&) = default;
};

struct TcbInfo {
  std::uint32_t version = 3;      // 2 or 3
  TeeType tee = TeeType::sgx;     // `id`; version 2 has none and is SGX
  UnixTime issue_date{};
  UnixTime next_update{};
  ByteArray<6> fmspc{};
  ByteArray<2> pce_id{};
  std::uint32_t tcb_type = 0;     // 0 is the only one that exists
  std::uint32_t tcb_evaluation_data_number = 0;
  std::optional<TdxModule> tdx_module;  // exactly in TDX documents
  std::vector<TdxModuleIdentity> tdx_module_identities;
  std::vector<TcbLevel> levels;

  friend bool operator==(const TcbInfo&, const TcbInfo&) = default;
};

/// With what was signed, byte for byte. Nothing was verified.
struct SignedTcbInfo {
  TcbInfo info;
  HashedText body;             // the `tcbInfo` value as it stood
  ByteArray<64> signature{};   // r || s, ECDSA P-256 with SHA-256
};

/// {"tcbInfo":{…},"signature":"…"}. All of these: `collateral_malformed` with the member, `limit_exceeded`, or the
/// JSON reader's own refusals.
[[nodiscard]] Result<SignedTcbInfo> parse_tcb_info(std::string_view envelope);
/// The `tcbInfo` value alone.
[[nodiscard]] Result<TcbInfo> parse_tcb_info_body(std::string_view body);
/// The `tcbInfo` value: compact, members in Intel's order. parse_tcb_info_body(write_tcb_info_body(x)) == x.
[[nodiscard]] std::string write_tcb_info_body(const TcbInfo& info);
/// The envelope around a body that was signed as it is.
[[nodiscard]] std::string write_tcb_info(std::string_view body, const ByteArray<64>& signature);

}  // namespace cloister::evidence
