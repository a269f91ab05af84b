#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/hash.hpp"
#include "support/support.hpp"
#include "x509_rsa.hpp"

// Every `valid` case must be accepted, every `invalid` one refused. `acceptable` cases occur for X25519 alone: what is
// done with them is said at that test.
namespace cloister::crypto {
namespace {

using codec::json::Value;

Bytes hex(const Value& object, std::string_view name) {
  const auto* value = object.find(name);
  EXPECT_NE(value, nullptr) << name;
  return codec::from_hex(*value->as_string()).value();
}

std::string text(const Value& object, std::string_view name) { return *object.find(name)->as_string(); }

bool has_flag(const Value& test, std::string_view flag) {
  const auto& flags = *test.find("flags")->as_array();
  return std::ranges::any_of(flags, [&](const Value& one) { return *one.as_string() == flag; });
}

/// Runs `accepts` on each case of a file; `judge_acceptable` says what is expected of an acceptable one.
class Wycheproof : public testing::Test {
 protected:
  using Accepts = std::function<bool(const Value& group, const Value& test)>;

  void run(const std::string& name, const Accepts& accepts,
           const std::function<bool(const Value&)>& judge_acceptable = nullptr) {
    CLOISTER_VECTORS_OR_SKIP(folder);
    const auto file = test::read_text(folder / "crypto/wycheproof" / (name + "_test.json"));
    const auto document = codec::json::parse(file, {.bytes = 16U << 20}).value();
    std::size_t cases = 0;
    for (const auto& group : *document.find("testGroups")->as_array()) {
      for (const auto& test : *group.find("tests")->as_array()) {
        ++cases;
        const auto result = text(test, "result");
        ASSERT_TRUE(result != "acceptable" || judge_acceptable) << "an acceptable case nobody decided on";
        const bool expected = result == "acceptable" ? judge_acceptable(test) : result == "valid";
        EXPECT_EQ(accepts(group, test), expected)
            << name << " case " << test.find("tcId")->as_int().value_or(0) << ": " << text(test, "comment");
      }
    }
    EXPECT_EQ(cases, document.find("numberOfTests")->as_uint());
  }

  void run_ecdsa(const std::string& name, Curve curve, bool der) {
    run(name, [&](const Value& group, const Value& test) {
      const auto point = hex(*group.find("publicKey"), "uncompressed");
      const auto key = EcPublicKey::from_xy(curve, ByteView{point}.subspan(1)).value();
      const auto message = hex(test, "msg");
      const auto signature = hex(test, "sig");
      return (der ? key.verify_der(message, signature) : key.verify(message, signature)).ok();
    });
  }
};

TEST_F(Wycheproof, ChaCha20Poly1305) {
  run("chacha20_poly1305", [](const Value&, const Value& test) {
    const auto nonce = hex(test, "iv");
    if (nonce.size() != sizeof(Nonce)) return false;  // other sizes have no type here
    const auto key = hex(test, "key");
    const auto associated = hex(test, "aad");
    auto ciphertext = hex(test, "ct");
    append(ciphertext, hex(test, "tag"));
    const auto opened = chacha20poly1305_open(key, to_array<12>(nonce), associated, ciphertext);
    if (!opened.ok()) {
      EXPECT_EQ(opened.error().code(), Errc::decryption_failed);
      return false;
    }
    return same_bytes(opened->reveal(), hex(test, "msg")) &&
           chacha20poly1305_seal(key, to_array<12>(nonce), associated, opened->reveal()) == ciphertext;
  });
}

TEST_F(Wycheproof, HmacSha256) {
  run("hmac_sha256", [](const Value& group, const Value& test) {
    const auto tag = hex(test, "tag");
    EXPECT_EQ(group.find("tagSize")->as_uint(), tag.size() * 8);
    const auto computed = hmac_sha256(hex(test, "key"), hex(test, "msg"));
    return equal(ByteView{computed}.first(tag.size()), tag);
  });
}

TEST_F(Wycheproof, HkdfSha256) {
  run("hkdf_sha256", [](const Value&, const Value& test) {
    const auto size = *test.find("size")->as_uint();
    if (size > 255 * 32) return false;  // a caller's mistake, asserted
    const auto key = hkdf(hex(test, "salt"), hex(test, "ikm"), hex(test, "info"), size);
    return same_bytes(key.reveal(), hex(test, "okm"));
  });
}

// Acceptable: a shared secret of zero is refused (RFC 7748 section 6.1 permits it, Noise and RFC 9180 want it); points
// on the twist and non-canonical public keys give the secret that RFC 7748 section 5 defines for them.
TEST_F(Wycheproof, X25519) {
  run(
      "x25519",
      [](const Value&, const Value& test) {
        const auto key = X25519Key::from_private(Secret<32>::copy_of(hex(test, "private")));
        const auto shared = key.agree(to_array<32>(hex(test, "public")));
        if (!shared.ok()) {
          EXPECT_EQ(shared.error().code(), Errc::key_invalid);
          return false;
        }
        return equal(shared->reveal(), hex(test, "shared"));
      },
      [](const Value& test) { return !has_flag(test, "ZeroSharedSecret"); });
}

TEST_F(Wycheproof, Ed25519) {
  run("ed25519", [](const Value& group, const Value& test) {
    const auto key = to_array<32>(hex(*group.find("publicKey"), "pk"));
    return ed25519_verify(key, hex(test, "msg"), hex(test, "sig")).ok();
  });
}

TEST_F(Wycheproof, EcdsaP256Der) { run_ecdsa("ecdsa_secp256r1_sha256", Curve::p256, true); }
TEST_F(Wycheproof, EcdsaP256Fixed) { run_ecdsa("ecdsa_secp256r1_sha256_p1363", Curve::p256, false); }
TEST_F(Wycheproof, EcdsaP384Der) { run_ecdsa("ecdsa_secp384r1_sha384", Curve::p384, true); }
TEST_F(Wycheproof, EcdsaP384Fixed) { run_ecdsa("ecdsa_secp384r1_sha384_p1363", Curve::p384, false); }

// As AMD's root and signing certificates use it.
TEST_F(Wycheproof, RsaPss4096Sha384) {
  run("rsa_pss_4096_sha384_mgf1_48", [](const Value& group, const Value& test) {
    EXPECT_EQ(text(group, "sha") + text(group, "mgf") + text(group, "mgfSha"), "SHA-384MGF1SHA-384");
    EXPECT_EQ(group.find("sLen")->as_uint(), 48U);
    const auto number = [&](std::string_view name) {
      auto bytes = hex(*group.find("publicKey"), name);
      if (!bytes.empty() && bytes.front() == 0) bytes.erase(bytes.begin());  // of DER's sign
      return bytes;
    };
    x509::RsaPublicKey key;
    key.modulus = number("modulus");
    key.exponent = number("publicExponent");
    return x509::verify_rsa(key, {"SHA2-384", true}, hex(test, "msg"), hex(test, "sig")).ok();
  });
}

}  // namespace
}  // namespace cloister::crypto
