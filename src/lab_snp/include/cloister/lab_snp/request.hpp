#pragma once

#include <cstdint>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/evidence/snp/product.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/lab_snp/status.hpp"

/// Payloads of guest messages: reports and derived keys (AMD 56860, sections 7.2 and 7.3, Tables 19 to 22).
namespace cloister::lab_snp {

/// KEY_SEL: which endorsement key. `either`: the VLEK where one is loaded, else the VCEK.
enum class KeySelect : std::uint8_t { either = 0, vcek = 1, vlek = 2 };

/// MSG_REPORT_REQ, 0x60 bytes.
struct ReportRequest {
  Digest64 report_data{};
  std::uint32_t vmpl = 0;
  KeySelect key = KeySelect::either;
};
inline constexpr std::size_t kReportRequestSize = 0x60;
[[nodiscard]] Bytes encode_report_request(const ReportRequest& request);
/// Nothing for another size, a reserved KEY_SEL, or bits where zeros belong.
[[nodiscard]] std::optional<ReportRequest> parse_report_request(ByteView payload);

/// GUEST_FIELD_SELECT: what a derived key depends on beside what it always does.
namespace guest_field {
inline constexpr std::uint64_t kPolicy = 1;
inline constexpr std::uint64_t kImageId = 2;
inline constexpr std::uint64_t kFamilyId = 4;
inline constexpr std::uint64_t kMeasurement = 8;
inline constexpr std::uint64_t kGuestSvn = 16;
inline constexpr std::uint64_t kTcbVersion = 32;
inline constexpr std::uint64_t kMitigations = 64;  // version 2 of the message
inline constexpr std::uint64_t kAll = 127;
}  // namespace guest_field

/// ROOT_KEY_SELECT: `vek` outlives the guest, on this chip or under this VLEK; `vmrk` is the guest's own.
enum class RootKey : std::uint8_t { vek = 0, vmrk = 1 };

/// MSG_KEY_REQ: version 1 has 0x20 bytes; version 2 has 0x28, and mitigations.
struct KeyRequest {
  RootKey root = RootKey::vek;
  KeySelect key = KeySelect::either;
  std::uint64_t fields = 0;  // of guest_field
  std::uint32_t vmpl = 0;
  std::uint32_t guest_svn = 0;
  evidence::SnpTcbVersion tcb{};
  std::optional<std::uint64_t> mitigations{};  // present: version 2
};
[[nodiscard]] Bytes encode_key_request(const KeyRequest& request);
/// Nothing for another version or size, a reserved KEY_SEL, or bits where zeros belong. Unknown fields stay as they are.
[[nodiscard]] std::optional<KeyRequest> parse_key_request(std::uint8_t version, ByteView payload);

/// MSG_REPORT_RSP: status 0, size 4, report 0x20 (zeros unless the status is success).
[[nodiscard]] Bytes encode_report_response(Status status, ByteView report);
/// MSG_KEY_RSP: status 0, key 0x20 (zeros unless the status is success).
[[nodiscard]] crypto::SecretBytes encode_key_response(Status status, const crypto::Secret<32>* key);

/// Status of a response, in its first four bytes; nothing for a payload that is shorter.
[[nodiscard]] std::optional<Status> response_status(ByteView payload);
inline constexpr std::size_t kReportResponseSize = 0x20 + evidence::kSnpReportSize;
inline constexpr std::size_t kKeyResponseSize = 0x40;
inline constexpr std::size_t kResponseBody = 0x20;  // where report and key stand

}  // namespace cloister::lab_snp
