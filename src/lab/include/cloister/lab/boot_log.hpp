#pragma once

#include <cstdint>
#include <span>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/lab/tdx.hpp"

/// LAB ONLY - NOT HARDWARE. What virtual firmware does for measured boot: it extends a register and writes down why.
namespace cloister::lab::tdx {

/// The CC event log of one TD. Each event is extended into its register and then logged, so that the log replays to the
/// registers (TCG PC Client Platform Firmware Profile; UEFI 2.10 section 38.4.1). Refers to the TD, which outlives it.
class BootLog {
 public:
  explicit BootLog(Td& td) : td_{&td} {}

  /// SHA-384 of `measured` goes into RTMR `index`; `data` is what the log says about it.
  Status measure(unsigned index, std::uint32_t type, ByteView measured, ByteView data);
  /// The four zero bytes that end the firmware's part of a register (EV_SEPARATOR).
  Status separate(unsigned index);
  /// Logged, never extended (EV_NO_ACTION).
  void note(unsigned index, ByteView data);

  [[nodiscard]] const evidence::EventLog& events() const noexcept { return events_; }
  /// The log's area in guest memory, of `area` bytes; `limit_exceeded` when it is too small.
  [[nodiscard]] Result<Bytes> area(std::size_t area) const { return evidence::encode_ccel(events_, area); }

 private:
  Td* td_;
  evidence::EventLog events_;
};

}  // namespace cloister::lab::tdx
