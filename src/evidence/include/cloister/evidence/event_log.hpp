#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// Event logs of TDs: lists of what was extended into RTMRs. A log proves nothing before its replay equals the
/// registers of a verified quote, and then only digests: `data` is what somebody wrote beside them.
namespace cloister::evidence {

inline constexpr std::size_t kMaxEventLogSize = 1U << 20;
/// Of a guest's own log; the other formats need more than 64 bytes an event, so that the size limits them.
inline constexpr std::size_t kMaxEvents = 16'384;
/// EV_NO_ACTION (TCG PC Client Platform Firmware Profile, "Event types"): logged, never extended.
inline constexpr std::uint32_t kEventNoAction = 3;
/// The type of dstack's run-time events.
inline constexpr std::uint32_t kEventDstackRuntime = 0x0800'0001;
/// The type under which events of our own guests are listed.
inline constexpr std::uint32_t kEventGuest = 0x0C10'0001;

struct Event {
  std::optional<std::uint8_t> rtmr;  // 0 to 3; nothing for the build-time measurement (MRTD)
  std::uint32_t type = 0;
  Digest48 digest{};  // what is extended
  std::string name;   // of run-time events; empty for firmware's
  Bytes data;

  /// Whether a replay extends it.
  [[nodiscard]] bool extends() const noexcept { return rtmr.has_value() && type != kEventNoAction; }

  friend bool operator==(const Event&, const Event&) = default;
};
using EventLog = std::vector<Event>;

/// A CCEL's data: the TCG crypto-agile format with register indices by CC mapping (UEFI 2.10 section 38.4.1:
/// 0 is MRTD, 1 to 4 are RTMR0 to RTMR3); SHA-384 is the one bank that counts. The log ends where its bytes do, or
/// at padding of 0xFF or zero bytes to the end.
[[nodiscard]] Result<EventLog> parse_ccel(ByteView bytes);

/// The data of a CCEL as firmware writes it: the Spec ID event with the one bank SHA-384, then the events, then bytes of
/// 0xFF up to `area`. Names are not part of the format. Errors: `limit_exceeded` when the log needs more than `area`.
[[nodiscard]] Result<Bytes> encode_ccel(const EventLog& log, std::size_t area);

/// The ACPI table that says where a guest's event log is (UEFI 2.10 section 38.4.1, "CC Event Log ACPI Table"): 56 bytes.
struct CcelTable {
  std::uint8_t cc_type = 2;  // TDX; 1 would be SEV
  std::uint8_t cc_subtype = 0;
  std::uint64_t log_size = 0;     // bytes of the area (LAML)
  std::uint64_t log_address = 0;  // guest physical (LASA)

  friend bool operator==(const CcelTable&, const CcelTable&) = default;
};
inline constexpr std::size_t kCcelTableSize = 56;
/// `evidence_malformed` for another length, signature, or a sum of bytes that is not zero; `evidence_unsupported` for
/// another type than TDX.
[[nodiscard]] Result<CcelTable> parse_ccel_table(ByteView bytes);
[[nodiscard]] ByteArray<kCcelTableSize> encode_ccel_table(const CcelTable& table);

/// dstack's JSON: [{"imr","event_type","digest","event","event_payload"}…]. Run-time events are SHA-384 of
/// type (u32, little-endian) ":" name ":" payload: recomputed, and refused when a digest is given that differs.
/// Other events need a digest.
[[nodiscard]] Result<EventLog> parse_dstack_event_log(std::string_view json);

/// An event that one of our guests extends by itself.
struct GuestEvent {
  std::uint8_t rtmr = 3;
  std::string name;
  Bytes payload;

  friend bool operator==(const GuestEvent&, const GuestEvent&) = default;
};
/// SHA-384 of the deterministic CBOR ["cloister/event/1", name, payload].
[[nodiscard]] Digest48 guest_event_digest(std::string_view name, ByteView payload);
/// Deterministic CBOR ["cloister/event-log/1", [[rtmr, name, payload]…]]; `rtmr` is 0 to 3.
[[nodiscard]] Result<std::vector<GuestEvent>> parse_guest_event_log(ByteView cbor);
[[nodiscard]] Bytes encode_guest_event_log(const std::vector<GuestEvent>& events);
/// With digests computed, for replay.
[[nodiscard]] EventLog to_event_log(const std::vector<GuestEvent>& events);

/// A log in any of these forms, told apart by how it begins: JSON (dstack's list, or an object that has it as its member
/// `event_log`, itself or as text), CBOR (a guest's own), else a CCEL's data.
[[nodiscard]] Result<EventLog> parse_event_log(ByteView bytes);

}  // namespace cloister::evidence
