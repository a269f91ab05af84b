#include "cloister/lab_snp/guest_message.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include <limits>

#include "cloister/codec/text.hpp"

namespace cloister::lab_snp {
namespace {

Vmpck key(std::uint8_t byte = 0x11) {
  ByteArray<32> bytes;
  bytes.fill(byte);
  return Vmpck{bytes};
}

Message request(std::uint64_t sequence = 1) {
  const Bytes payload(0x60, 0xAB);
  return {.type = MessageType::report_request, .version = 1, .vmpck = 2, .sequence = sequence,
          .payload = crypto::SecretBytes::copy_of(payload)};
}

TEST(GuestMessage, IsLaidOutAsTheFirmwareAbiSays) {
  const auto bytes = seal_message(key(), request(0x0102));
  ASSERT_EQ(bytes.size(), 0xC0U);
  EXPECT_TRUE(all_zero(ByteView{bytes}.subspan(0x10, 0x10)));
  EXPECT_EQ(codec::to_hex(ByteView{bytes}.subspan(0x20, 0x10)), "02010000000000000000000000000000");
  EXPECT_EQ(codec::to_hex(ByteView{bytes}.subspan(0x30, 0x10)), "01016000050160000000000002000000");
  EXPECT_TRUE(all_zero(ByteView{bytes}.subspan(0x40, 0x20)));
}

// Tag and first bytes of the ciphertext, from an independent AES-256-GCM.
TEST(GuestMessage, KnownAnswer) {
  const auto bytes = seal_message(key(), request());
  EXPECT_EQ(codec::to_hex(ByteView{bytes}.first(16)), "b942f4c8b38fdcff24c3ea8769827d9c");
  EXPECT_EQ(codec::to_hex(ByteView{bytes}.subspan(0x60, 16)), "328867a730bae58b016f42a2f2992e25");
}

TEST(GuestMessage, OpensAsItWasSealed) {
  const auto opened = open_message(key(), seal_message(key(), request(7)));
  ASSERT_TRUE(opened.ok()) << opened.error().text();
  EXPECT_EQ(opened->type, MessageType::report_request);
  EXPECT_EQ(opened->vmpck, 2);
  EXPECT_EQ(opened->sequence, 7U);
  EXPECT_TRUE(same_bytes(opened->payload.reveal(), Bytes(0x60, 0xAB)));
  EXPECT_FALSE(open_message(key(0x12), seal_message(key(), request())).ok());
}

TEST(GuestMessage, NoBytePassesChanged) {
  const auto bytes = seal_message(key(), request());
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const unsigned flip : {0x01U, 0x80U, 0xFFU}) {
      auto changed = bytes;
      changed[at] = static_cast<std::uint8_t>(changed[at] ^ flip);
      EXPECT_FALSE(open_message(key(), changed).ok()) << at;
    }
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(open_message(key(), ByteView{bytes}.first(size)).ok());
}

TEST(GuestMessage, RefusalsSayWhy) {
  const auto refusal = [](std::size_t at, std::uint8_t value) {
    auto bytes = seal_message(key(), request());
    bytes[at] = value;
    return open_message(key(), bytes).error().code();
  };
  EXPECT_EQ(refusal(0x00, 0), Errc::decryption_failed);
  EXPECT_EQ(refusal(0x10, 1), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x28, 1), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x30, 2), Errc::unsupported);
  EXPECT_EQ(refusal(0x31, 2), Errc::unsupported);
  EXPECT_EQ(refusal(0x32, 0x61), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x34, 0), Errc::unsupported);
  EXPECT_EQ(refusal(0x34, 19), Errc::unsupported);
  EXPECT_EQ(refusal(0x36, 0x5F), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x38, 1), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x3C, 4), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x5F, 1), Errc::evidence_malformed);
  EXPECT_EQ(refusal(0x35, 2), Errc::decryption_failed);
  EXPECT_EQ(refusal(0x20, 3), Errc::decryption_failed);
  EXPECT_EQ(open_message(key(), Bytes(4097)).error().code(), Errc::evidence_malformed);
}

TEST(GuestMessage, IsFoundInAPage) {
  const auto sealed = seal_message(key(), request());
  Bytes page(4096);
  std::ranges::copy(sealed, page.begin());
  EXPECT_TRUE(same_bytes(message_in(page), sealed));
  page[0x37] = 0xFF;  // a size that reaches beyond the page
  EXPECT_EQ(message_in(page).size(), page.size());
  for (const std::size_t size : {std::size_t{0}, std::size_t{0x37}, kMessageHeaderSize}) {
    EXPECT_EQ(message_in(ByteView{page}.first(size)).size(), size);
  }
}

TEST(MessageSequence, TakesEachRequestOnceAndInOrder) {
  MessageSequence firmware;
  EXPECT_EQ(firmware.accept_request(1).value(), 2U);
  EXPECT_EQ(firmware.accept_request(1).error().code(), Errc::conflict);  // replayed
  EXPECT_EQ(firmware.accept_request(5).error().code(), Errc::conflict);  // reordered
  EXPECT_EQ(firmware.accept_request(2).error().code(), Errc::conflict);  // an answer, reflected
  EXPECT_EQ(firmware.next_request().value(), 3U);
  EXPECT_EQ(firmware.accept_request(3).value(), 4U);
  EXPECT_EQ(firmware.count(), 4U);
}

TEST(MessageSequence, EndsBeforeItWraps) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  MessageSequence last{kMax - 3};
  EXPECT_EQ(last.accept_request(kMax - 2).value(), kMax - 1);
  EXPECT_EQ(last.next_request().error().code(), Errc::limit_exceeded);
  EXPECT_EQ(last.accept_request(kMax).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(last.accept_request(0).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::lab_snp
