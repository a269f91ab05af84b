#pragma once

#include <cstdint>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

/// LAB ONLY - NOT HARDWARE. Messages between a guest and its firmware, past a host that carries them (AMD 56860, SEV-SNP
/// Firmware ABI, section 8.26 SNP_GUEST_REQUEST and Table 98): a header of 96 bytes, a payload, AES-256-GCM under one of the
/// guest's four VMPCKs. Little-endian.
namespace cloister::lab_snp {

inline constexpr std::size_t kMessageHeaderSize = 0x60;
inline constexpr std::size_t kMaxMessageSize = 4096;  // a page
inline constexpr std::size_t kMaxMessagePayload = kMaxMessageSize - kMessageHeaderSize;

enum class MessageType : std::uint8_t {
  cpuid_request = 1, cpuid_response, key_request, key_response, report_request, report_response,
  export_request, export_response, import_request, import_response, absorb_request, absorb_response,
  vmrk_request, vmrk_response, absorb_noma_request, absorb_noma_response, tsc_info_request, tsc_info_response,
};

struct Message {
  MessageType type = MessageType::report_request;
  std::uint8_t version = 1;  // of the payload's format
  std::uint8_t vmpck = 0;    // which key: 0 to 3
  std::uint64_t sequence = 0;
  crypto::SecretBytes payload;  // at most kMaxMessagePayload
};

using Vmpck = crypto::Secret<32>;

/// AUTHTAG 0, SEQNO 0x20, ALGO 0x30, header version 0x31 and size 0x32, type 0x34, payload version 0x35 and size 0x36, VMPCK
/// 0x3C, payload 0x60. Associated data are the bytes 0x30 to 0x5F; the nonce is SEQNO and four zero bytes, so that a key must
/// never serve a sequence number twice: `MessageSequence` sees to it.
[[nodiscard]] Bytes seal_message(const Vmpck& key, const Message& message);
/// `evidence_malformed` for a length, header or reserved byte that is not as specified, `unsupported` for another algorithm,
/// header version or type, `decryption_failed` where key, header or payload do not fit the tag. The sequence number and
/// VMPCK are the sender's claims: `MessageSequence` decides.
[[nodiscard]] Result<Message> open_message(const Vmpck& key, ByteView bytes);
/// VMPCK that the header names, before anything is verified: whose key to open with. Nothing for less than a header.
[[nodiscard]] std::optional<std::uint8_t> vmpck_of(ByteView bytes) noexcept;
/// The message in a page: a header and as much payload as it claims, without what stands behind. All of `page` where that is no
/// more than a header.
[[nodiscard]] ByteView message_in(ByteView page) noexcept;

/// The message count of one VMPCK, at either end: requests are numbered 1, 3, 5 …, each answered by the number after it.
/// A request that was answered once is never taken again. One thread at a time.
class MessageSequence {
 public:
  MessageSequence() = default;
  /// With messages sent before.
  explicit MessageSequence(std::uint64_t count) : count_{count} {}
  /// The number of the next request; `limit_exceeded` when the counter would pass its end (the key is used up).
  [[nodiscard]] Result<std::uint64_t> next_request() const;
  /// Takes a request with this number and gives that of its answer. `conflict` for any number but the next.
  [[nodiscard]] Result<std::uint64_t> accept_request(std::uint64_t sequence);
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  std::uint64_t count_ = 0;
};

}  // namespace cloister::lab_snp
