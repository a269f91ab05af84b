#include "cloister/lab_snp/guest_message.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/aead.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::uint8_t kAes256Gcm = 1;
constexpr std::uint8_t kHeaderVersion = 1;
constexpr std::size_t kTagArea = 32;
constexpr std::size_t kAssociated = 0x30;
constexpr std::size_t kSizeAt = 0x36;
constexpr std::size_t kVmpckAt = 0x3C;
constexpr std::uint8_t kLastType = static_cast<std::uint8_t>(MessageType::tsc_info_response);
constexpr std::uint8_t kVmpcks = 4;

Error malformed(std::string detail) { return Error{Errc::evidence_malformed, "guest message: " + std::move(detail)}; }
Error unsupported(std::string detail) { return Error{Errc::unsupported, "guest message: " + std::move(detail)}; }

crypto::Nonce nonce_of(std::uint64_t sequence) {
  crypto::Nonce nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[i] = static_cast<std::uint8_t>(sequence >> (8 * i));
  return nonce;
}

/// The header from ALGO on: what is authenticated beside the payload.
Bytes associated_of(const Message& message) {
  codec::Writer out;
  out.u8(kAes256Gcm);
  out.u8(kHeaderVersion);
  out.u16le(kMessageHeaderSize);
  out.u8(static_cast<std::uint8_t>(message.type));
  out.u8(message.version);
  out.u16le(static_cast<std::uint16_t>(message.payload.size()));
  out.zeros(4);
  out.u8(message.vmpck);
  out.zeros(kMessageHeaderSize - kVmpckAt - 1);
  return std::move(out).take();
}

struct Header {
  ByteView tag;
  std::uint64_t sequence = 0;
  MessageType type{};
  std::uint8_t version = 0;
  std::uint8_t vmpck = 0;
};

Result<Header> read_header(ByteView bytes) {
  if (bytes.size() < kMessageHeaderSize || bytes.size() > kMaxMessageSize) {
    return malformed("96 to 4096 bytes expected, got " + std::to_string(bytes.size()));
  }
  codec::Reader in{bytes.first(kMessageHeaderSize)};
  Header header;
  header.tag = in.take(crypto::kTagSize).value();
  bool zero = all_zero(in.take(kTagArea - crypto::kTagSize).value());
  header.sequence = in.u64le().value();
  zero = all_zero(in.take(8).value()) && zero;
  const auto algorithm = in.u8().value();
  const auto header_version = in.u8().value();
  const auto header_size = in.u16le().value();
  const auto type = in.u8().value();
  header.version = in.u8().value();
  const auto size = in.u16le().value();
  zero = all_zero(in.take(4).value()) && zero;
  header.vmpck = in.u8().value();
  zero = all_zero(in.rest()) && zero;
  if (algorithm != kAes256Gcm) return unsupported("algorithm 1 (AES-256-GCM) expected, got " + std::to_string(algorithm));
  if (header_version != kHeaderVersion) return unsupported("header version 1 expected, got " + std::to_string(header_version));
  if (type == 0 || type > kLastType) return unsupported("type " + std::to_string(type));
  if (header_size != kMessageHeaderSize) return malformed("a header of 96 bytes expected, got " + std::to_string(header_size));
  if (header.vmpck >= kVmpcks) return malformed("VMPCK " + std::to_string(header.vmpck));
  if (!zero) return malformed("reserved bytes are not zero");
  if (size != bytes.size() - kMessageHeaderSize) return malformed("the size of the payload is not what its header says");
  header.type = static_cast<MessageType>(type);
  return header;
}

}  // namespace

Bytes seal_message(const Vmpck& key, const Message& message) {
  CLOISTER_ASSERT(message.payload.size() <= kMaxMessagePayload && message.vmpck < kVmpcks);
  const auto associated = associated_of(message);
  const auto sealed = crypto::aes_gcm_seal(key.reveal(), nonce_of(message.sequence), associated, message.payload.reveal());
  codec::Writer out;
  out.raw(ByteView{sealed}.last(crypto::kTagSize));
  out.zeros(kTagArea - crypto::kTagSize);
  out.u64le(message.sequence);
  out.zeros(8);
  out.raw(associated);
  out.raw(ByteView{sealed}.first(message.payload.size()));
  return std::move(out).take();
}

Result<Message> open_message(const Vmpck& key, ByteView bytes) {
  CLOISTER_TRY(header, read_header(bytes));
  auto sealed = to_bytes(bytes.subspan(kMessageHeaderSize));
  append(sealed, header.tag);
  const auto associated = bytes.subspan(kAssociated, kMessageHeaderSize - kAssociated);
  CLOISTER_TRY(payload, crypto::aes_gcm_open(key.reveal(), nonce_of(header.sequence), associated, sealed));
  return Message{.type = header.type, .version = header.version, .vmpck = header.vmpck, .sequence = header.sequence,
                 .payload = std::move(payload)};
}

std::optional<std::uint8_t> vmpck_of(ByteView bytes) noexcept {
  if (bytes.size() < kMessageHeaderSize) return std::nullopt;
  return bytes[kVmpckAt];
}

ByteView message_in(ByteView page) noexcept {
  if (page.size() <= kMessageHeaderSize) return page;
  const auto payload = static_cast<std::size_t>(page[kSizeAt] | page[kSizeAt + 1] << 8);
  return page.first(std::min(page.size(), kMessageHeaderSize + payload));
}

Result<std::uint64_t> MessageSequence::next_request() const {
  if (count_ > std::numeric_limits<std::uint64_t>::max() - 2) {
    return Error{Errc::limit_exceeded, "guest messages: this VMPCK has no sequence numbers left"};
  }
  return count_ + 1;
}

Result<std::uint64_t> MessageSequence::accept_request(std::uint64_t sequence) {
  CLOISTER_TRY(expected, next_request());
  if (sequence != expected) {
    return Error{Errc::conflict, "guest messages: sequence number " + std::to_string(expected) + " expected, got " + std::to_string(sequence)};
  }
  count_ += 2;
  return count_;
}

}  // namespace cloister::lab_snp
