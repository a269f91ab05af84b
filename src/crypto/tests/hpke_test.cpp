#include "cloister/crypto/hpke.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::crypto {
namespace {

/// Gives the bytes that a vector names as the ephemeral key.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(Bytes bytes) : bytes_{std::move(bytes)} {}
  void fill(std::span<std::uint8_t> out) override {
    ASSERT_EQ(out.size(), bytes_.size());
    std::ranges::copy(bytes_, out.begin());
  }

 private:
  Bytes bytes_;
};

TEST(Hpke, Rfc9180BaseMode) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const auto file = test::read_text(folder / "crypto/hpke/rfc9180_x25519_sha256.json");
  const auto document = codec::json::parse(file).value();
  std::size_t used = 0;
  for (const auto& vector : *document.as_array()) {
    const auto number = [&](std::string_view name) { return vector.find(name)->as_int(); };
    if (number("mode") != 0 || number("kem_id") != 0x20 || number("kdf_id") != 1 || number("aead_id") != 3) continue;
    const auto hex = [](const codec::json::Value& object, std::string_view name) {
      return codec::from_hex(*object.find(name)->as_string()).value();
    };
    const auto& first = vector.find("encryptions")->as_array()->front();  // sequence number 0: single-shot
    const auto plaintext = hex(first, "pt");
    FixedRandom random{hex(vector, "skEm")};
    const auto sealed = hpke_seal(to_array<32>(hex(vector, "pkRm")), hex(vector, "info"), hex(first, "aad"), plaintext,
                                  random).value();
    EXPECT_EQ(to_bytes(sealed.enc), hex(vector, "enc"));
    EXPECT_EQ(sealed.ciphertext, hex(first, "ct"));
    const auto recipient = X25519Key::from_private(Secret<32>::copy_of(hex(vector, "skRm")));
    const auto opened = hpke_open(recipient, sealed.enc, hex(vector, "info"), hex(first, "aad"), sealed.ciphertext);
    EXPECT_TRUE(same_bytes(opened.value().reveal(), plaintext));
    ++used;
  }
  EXPECT_EQ(used, 1U);
}

class HpkeRefusal : public testing::Test {
 protected:
  [[nodiscard]] Errc open(std::string_view info, std::string_view associated) const {
    const auto opened = hpke_open(recipient_, sealed_.enc, as_bytes(info), as_bytes(associated), sealed_.ciphertext);
    return opened.ok() ? Errc::internal : opened.error().code();
  }
  test::SeededRandom random_{5};
  X25519Key recipient_ = X25519Key::generate(random_);
  HpkeSealed sealed_ =
      hpke_seal(recipient_.public_key(), as_bytes("info"), as_bytes("ad"), as_bytes("text"), random_).value();
};

TEST_F(HpkeRefusal, OfAnotherInfo) { EXPECT_EQ(open("other", "ad"), Errc::decryption_failed); }
TEST_F(HpkeRefusal, OfOtherAssociatedData) { EXPECT_EQ(open("info", "other"), Errc::decryption_failed); }
TEST_F(HpkeRefusal, OfAChangedCiphertext) {
  sealed_.ciphertext.front() ^= 1;
  EXPECT_EQ(open("info", "ad"), Errc::decryption_failed);
}
TEST_F(HpkeRefusal, OfAnotherEncapsulation) {
  sealed_.enc.front() ^= 1;
  EXPECT_EQ(open("info", "ad"), Errc::decryption_failed);
}
TEST_F(HpkeRefusal, OfAnotherRecipient) {
  recipient_ = X25519Key::generate(random_);
  EXPECT_EQ(open("info", "ad"), Errc::decryption_failed);
}
TEST_F(HpkeRefusal, OfALowOrderEncapsulation) {
  sealed_.enc = {};
  EXPECT_EQ(open("info", "ad"), Errc::key_invalid);
}
TEST_F(HpkeRefusal, OfALowOrderRecipient) {
  EXPECT_EQ(hpke_seal(X25519Public{}, {}, {}, {}, random_).error().code(), Errc::key_invalid);
}

}  // namespace
}  // namespace cloister::crypto
