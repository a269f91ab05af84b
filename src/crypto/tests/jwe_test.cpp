#include "cloister/crypto/jwe.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::crypto::jose {
namespace {

namespace json = codec::json;

/// One key of each kind, made once.
const std::vector<DecryptionKey>& keys() {
  static const auto all = [] {
    std::vector<DecryptionKey> out;
    for (const auto curve : {DhCurve::p256, DhCurve::p384, DhCurve::p521}) out.emplace_back(DhPrivateKey::generate(curve));
    out.emplace_back(RsaOaepKey::generate());
    return out;
  }();
  return all;
}

std::string header_of(const Jwe& message) {
  return std::string{as_text(codec::from_base64url(message.protected_header).value())};
}

/// `message` with another protected header, which nobody authenticated.
Jwe with_header(Jwe message, const json::Value& header) {
  message.protected_header = codec::to_base64url(as_bytes(json::write(header)));
  return message;
}

class JweTest : public testing::Test {
 protected:
  test::SeededRandom random{5};
};

TEST_F(JweTest, OpensWithItsKeyAlone) {
  for (const auto& key : keys()) {
    const auto message = encrypt(key.public_key(), as_bytes("a secret"), random).value();
    const auto again = parse_jwe(write(message)).value();
    EXPECT_EQ(as_text(decrypt(again, key)->reveal()), "a secret");
    for (const auto& other : keys()) {
      if (&other == &key) continue;
      EXPECT_FALSE(decrypt(message, other).ok());
    }
    const auto empty = encrypt(key.public_key(), {}, random).value();
    EXPECT_EQ(decrypt(empty, key)->size(), 0U);
  }
}

// Readers that write the header anew, sorted, have to find these bytes.
TEST_F(JweTest, WritesTheHeaderAsItsReadersWriteItAnew) {
  const auto ec = encrypt(keys()[0].public_key(), as_bytes("x"), random).value();
  const auto header = json::parse(header_of(ec)).value();
  const auto* epk = header.find("epk");
  ASSERT_NE(epk, nullptr);
  EXPECT_EQ(header_of(ec), R"({"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{"crv":"P-256","kty":"EC","x":")" +
                               *epk->find("x")->as_string() + R"(","y":")" + *epk->find("y")->as_string() + R"("}})");
  EXPECT_EQ(epk->find("x")->as_string()->size(), 43U);
  EXPECT_EQ(header_of(encrypt(keys()[3].public_key(), as_bytes("x"), random).value()), R"({"alg":"RSA-OAEP-256","enc":"A256GCM"})");
  const auto other = encrypt(keys()[0].public_key(), as_bytes("x"), random).value();
  EXPECT_NE(header_of(ec), header_of(other));  // a fresh ephemeral key each time
  EXPECT_EQ(ec.encrypted_key.size(), 40U);
  EXPECT_EQ(ec.iv.size(), 12U);
  EXPECT_EQ(ec.tag.size(), 16U);
}

TEST_F(JweTest, OpensNothingThatWasChanged) {
  for (const auto& key : keys()) {
    const auto message = encrypt(key.public_key(), as_bytes("a secret"), random).value();
    const auto changed = [&](Bytes Jwe::*part) {
      auto out = message;
      (out.*part)[3] ^= 1;
      return decrypt(out, key).error().code();
    };
    for (const auto part : {&Jwe::encrypted_key, &Jwe::iv, &Jwe::ciphertext, &Jwe::tag}) {
      EXPECT_EQ(changed(part), Errc::decryption_failed);
    }
    const auto shorter = [&](Bytes Jwe::*part) {
      auto out = message;
      (out.*part).pop_back();
      return decrypt(out, key).error().code();
    };
    for (const auto part : {&Jwe::encrypted_key, &Jwe::iv, &Jwe::ciphertext, &Jwe::tag}) {
      EXPECT_EQ(shorter(part), Errc::decryption_failed);
    }
    // The same header, written otherwise: it is authenticated as text.
    auto header = json::parse(header_of(message)).value();
    EXPECT_EQ(decrypt(with_header(message, header.set("kid", "x")), key).error().code(), Errc::decryption_failed);
  }
}

TEST_F(JweTest, RefusesHeadersItDoesNotKnow) {
  const auto& key = keys()[0];
  const auto message = encrypt(key.public_key(), as_bytes("a secret"), random).value();
  const auto refused = [&](std::string_view name, const json::Value& value) {
    auto header = json::parse(header_of(message)).value();
    return decrypt(with_header(message, header.set(name, value)), key).error().code();
  };
  EXPECT_EQ(refused("alg", "ECDH-ES"), Errc::unsupported);
  EXPECT_EQ(refused("alg", "RSA1_5"), Errc::unsupported);
  EXPECT_EQ(refused("alg", "none"), Errc::unsupported);
  EXPECT_EQ(refused("enc", "A128GCM"), Errc::unsupported);
  EXPECT_EQ(refused("crit", json::Array{"exp"}), Errc::unsupported);
  EXPECT_EQ(refused("zip", "DEF"), Errc::unsupported);
  EXPECT_EQ(refused("apu", "QQ"), Errc::unsupported);
  EXPECT_EQ(refused("apv", "QQ"), Errc::unsupported);
  EXPECT_EQ(refused("epk", "x"), Errc::malformed);
  auto epk = *json::parse(header_of(message))->find("epk");
  EXPECT_EQ(refused("epk", json::Value{epk}.set("kty", "OKP")), Errc::unsupported);
  EXPECT_EQ(refused("epk", json::Value{epk}.set("crv", "secp256k1")), Errc::unsupported);
  EXPECT_EQ(refused("epk", json::Value{epk}.set("y", *epk.find("x"))), Errc::key_invalid);
  EXPECT_EQ(refused("epk", keys()[1].public_key().to_json()), Errc::unknown_member);  // `alg` in it
  auto header = with_header(message, "text");
  EXPECT_EQ(decrypt(header, key).error().code(), Errc::malformed);
  header.protected_header = "!";
  EXPECT_EQ(decrypt(header, key).error().code(), Errc::malformed);
}

TEST_F(JweTest, ReadsFiveMembersAndNoOthers) {
  const auto message = encrypt(keys()[0].public_key(), as_bytes("a secret"), random).value();
  const auto value = json::parse(write(message)).value();
  const auto code = [](const json::Value& changed) { return parse_jwe(json::write(changed)).error().code(); };
  for (const auto& [name, member] : *value.as_object()) {
    json::Object less;
    for (const auto& other : *value.as_object()) {
      if (other.first != name) less.push_back(other);
    }
    EXPECT_EQ(code(less), Errc::missing_member) << name;
    EXPECT_EQ(code(json::Value{value}.set(name, 1)), Errc::malformed) << name;
    if (name == "protected") continue;  // decoded when it is opened
    EXPECT_EQ(code(json::Value{value}.set(name, "+/")), Errc::malformed) << name;
  }
  EXPECT_TRUE(parse_jwe(json::write(json::Value{value}.set("aad", nullptr))).ok());
  EXPECT_EQ(code(json::Value{value}.set("aad", "QQ")), Errc::unsupported);
  EXPECT_EQ(code(json::Value{value}.set("recipients", json::Array{})), Errc::unknown_member);
  EXPECT_EQ(parse_jwe("[]").error().code(), Errc::malformed);
  EXPECT_EQ(parse_jwe(std::string(kMaxJweSize + 1, ' ')).error().code(), Errc::limit_exceeded);
}

TEST_F(JweTest, WritesKeysAsItReadsThem) {
  for (const auto& key : keys()) {
    const auto jwk = key.public_key().to_json();
    EXPECT_EQ(EncryptionKey::parse(jwk)->to_json(), jwk);
  }
  EXPECT_EQ(keys()[1].public_key().algorithm(), "ECDH-ES+A256KW");
  EXPECT_EQ(keys()[3].public_key().algorithm(), "RSA-OAEP-256");
}

TEST_F(JweTest, RefusesEveryOtherKey) {
  const auto ec = keys()[0].public_key().to_json();
  const auto rsa = keys()[3].public_key().to_json();
  const auto code = [](const json::Value& jwk) { return EncryptionKey::parse(jwk).error().code(); };
  const auto with = [](json::Value jwk, std::string_view name, json::Value value) { return jwk.set(name, std::move(value)); };
  EXPECT_EQ(code("text"), Errc::malformed);
  EXPECT_EQ(code(with(ec, "kid", "x")), Errc::unknown_member);
  EXPECT_EQ(code(with(rsa, "use", "enc")), Errc::unknown_member);
  EXPECT_EQ(code(with(ec, "d", "QQ")), Errc::unknown_member);
  EXPECT_EQ(code(with(ec, "kty", "AKP")), Errc::unsupported);
  EXPECT_EQ(code(with(ec, "alg", "ECDH-ES")), Errc::unsupported);
  EXPECT_EQ(code(with(rsa, "alg", "RSA1_5")), Errc::unsupported);
  EXPECT_EQ(code(with(rsa, "alg", "RSA-OAEP")), Errc::unsupported);
  EXPECT_EQ(code(with(ec, "crv", "secp256k1")), Errc::unsupported);
  EXPECT_EQ(code(with(ec, "crv", "P-384")), Errc::key_invalid);
  EXPECT_EQ(code(with(ec, "x", *ec.find("y"))), Errc::key_invalid);
  EXPECT_EQ(code(with(ec, "x", "AA")), Errc::key_invalid);
  EXPECT_EQ(code(with(ec, "x", "=")), Errc::malformed);
  EXPECT_EQ(code(with(rsa, "n", "AQAB")), Errc::key_invalid);
  EXPECT_EQ(code(with(rsa, "e", "AQ")), Errc::key_invalid);
  EXPECT_EQ(code(with(rsa, "e", "AA")), Errc::key_invalid);
  for (const auto& jwk : {ec, rsa}) {
    for (const auto& [name, member] : *jwk.as_object()) {
      json::Object less;
      for (const auto& other : *jwk.as_object()) {
        if (other.first != name) less.push_back(other);
      }
      EXPECT_EQ(code(less), Errc::missing_member) << name;
    }
  }
}

}  // namespace
}  // namespace cloister::crypto::jose
