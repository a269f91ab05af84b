#pragma once

#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

namespace cloister::device {

/// Evidence as the machine gives it.
struct Quote {
  Bytes evidence;
  std::optional<Bytes> collateral;  // certificates that came along (Linux configfs-tsm: auxblob)
};

/// The machine's TEE as a guest sees it. Calls block. Not thread-safe.
class TeeDevice {
 public:
  virtual ~TeeDevice() = default;
  /// A local report over the caller's 64 bytes, which this machine alone can check (TDX: TDREPORT_STRUCT).
  [[nodiscard]] virtual Result<Bytes> report(const Digest64& report_data) = 0;
  /// RTMR[index] = SHA-384(RTMR[index] || digest). Programs may extend 2 and 3 (else `permission_denied`).
  [[nodiscard]] virtual Result<void> extend_rtmr(unsigned index, const Digest48& digest) = 0;
  /// Evidence over the caller's 64 bytes that anyone with the machine's root can verify.
  [[nodiscard]] virtual Result<Quote> quote(const Digest64& report_data) = 0;
};

}  // namespace cloister::device
