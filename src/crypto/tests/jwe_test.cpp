#include "cloister/crypto/jwe.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/aes.hpp"
#include "cloister/crypto/ecdh.hpp"
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

// Made by another implementation (Python's cryptography, checked with jwcrypto): the whole message, on each curve.
TEST_F(JweTest, OpensWhatOthersSealed) {
  struct Known {
    DhCurve curve;
    std::string_view d, header, key, iv, ciphertext, tag;
  };
  constexpr Known kKnown[] = {
        {DhCurve::p256, "AAA-Rpg-e3rN4AnxT7r_Sdt4oOnTqCt1W6PjkOAYB3A",
         "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngi"
         "OiJCbGhxdF9jSFVrbFQwQ3dsR1pzZ1c3U3dEUlNDbWxfdWd1S1JzUDlvcWVVIiwieSI6InVXX3hmX0ZpMXdUd0FSbld5c3Zyb1BK"
         "WENUdXZHTXlnYllzWlRaeGEyRncifX0",
         "4XU6vaBOXe6hWKpZYlFfH11q8cJhOkjdwo86HgsgKkcFU9Pf9dEHTA", "Y9C4N1LotncOq-fe",
         "Gh-hx94CGAkyARM9RJo", "FU_uFtzsy7bpU-HgK3I_uA"},
        {DhCurve::p384, "AAArgktI_aPf6lGL_z9IMnfJ6MfUgCIc4tiQh8hNH5XxgmTcfWaT-UYhzWl16khR",
         "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiUC0zODQiLCJrdHkiOiJFQyIsIngi"
         "OiJHdzM0dFBwOEZLLVZneHFhVExRNHNYQjRDS04yVXFRUHA2aXBIRE4zWm5YTzM3NDRJZjNxaE1RNTR0eHI5cnNhIiwieSI6ImUw"
         "cnAySWFudnQtV1FEM2VtaG12alczT0tHcGpZR05Rb1RKV044Z3dwMnZ0Y2JxZFdZRzROaWtwYl9FV0lhbXUifX0",
         "nYeqb2fOZLPWWzDXggox_BWqe3DIfNn9nQyPqMRCCCL6iPwdEL_ZWg", "Tk6p8FiqAr6MklWD",
         "YQOcSOpduMyDQUu2Pb8", "w4XJaHFyGneQJ7OjxpY3Tw"},
        {DhCurve::p521, "AADWhycSpVzAl2MJdLBjqrpTOXXoYcFFVyYgCAtnY1yFwPuRzKlnMavFzJV1FRncEU7ikQ-HIhepE5XVkPWZXWrl",
         "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiUC01MjEiLCJrdHkiOiJFQyIsIngi"
         "OiJBUndabHNxLTZaYUlzMmxUYVptRzlZeHRBQzhXTjBoQkN0OXdPZXZZSFVuMnBUeVlXRldCdzVhWTlFNHlYSDlwb2JJQWNoOUtx"
         "Z1luSGNCZ09kMnljalB0IiwieSI6IkFmeFN0Nm5MeHZSb3VUNncwMGRKSWZIZ2dibV9FMEh0ZzJaOVdvMjNfYm5leE9WU2kxT0N1"
         "TE1KSGRITS0wdDBRY0JqYXJIY1JZS2ZIdU13R01RemJGUF8ifX0",
         "5RdQA06TzkO81L90hlJ8TOHxxBGbzXQMFvbSujkzxsPNaittzmTuVg", "5wsJpLbBXFO6iuwn",
         "8DtZC7Pnq78iqtkQT3I", "tlzaOC1leRnJWPUNaTh_HQ"}};
  const auto bytes = [](std::string_view text) { return codec::from_base64url(text).value(); };
  for (const auto& one : kKnown) {
    const DecryptionKey key{DhPrivateKey::from_scalar(one.curve, SecretBytes::copy_of(bytes(one.d))).value()};
    const Jwe message{std::string{one.header}, bytes(one.key), bytes(one.iv), bytes(one.ciphertext), bytes(one.tag)};
    const auto opened = decrypt(message, key);
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ(as_text(opened->reveal()), "the disk's key");
  }
}

// RFC 7520 section 5.4 is ECDH-ES+A128KW, which is not taken: by its parts.
TEST_F(JweTest, AgreesAndUnwrapsAsRfc7520) {
  const auto bytes = [](std::string_view text) { return codec::from_base64url(text).value(); };
  const auto scalar = [&](std::string_view d) { return DhPrivateKey::from_scalar(DhCurve::p384, SecretBytes::copy_of(bytes(d))).value(); };
  const auto recipient = scalar("iTx2pk7wW-GqJkHcEkFQb2EFyYcO7RugmaW3mRrQVAOUiPommT0IdnYK2xDlZh-j");
  const auto ephemeral = scalar("D5H4Y_5PSKZvhfVFbcCYJOtcGZygRgfZkpsBr59Icmmhe9sW6nkZ8WfwhinUfWJg");
  auto epk = bytes("uBo4kHPw6kbjx5l0xowrd_oYzBmaz-GKFZu4xAFFkbYiWgutEK6iuEDsQ6wNdNg3");
  append(epk, bytes("sp3p5SGhZVC2faXumI-e9JU2Mo8KpoYrFDr5yPNVtW4PgEwZOyQTA-JdaY8tb7E0"));
  EXPECT_EQ(ephemeral.public_key().xy(), epk);
  codec::Writer info;
  constexpr std::string_view kAlgorithm = "ECDH-ES+A128KW";
  info.u32be(static_cast<std::uint32_t>(kAlgorithm.size()));
  info.raw(as_bytes(kAlgorithm));
  info.u32be(0);
  info.u32be(0);
  info.u32be(128);
  const auto shared = recipient.agree(DhPublicKey::from_xy(DhCurve::p384, epk).value()).value();
  const auto wrapping = concat_kdf(shared, info.bytes(), 16);
  const auto content = aes_key_unwrap(wrapping.reveal(), bytes("0DJjBXri_kBcC46IkU5_Jk9BqaQeHdv2"));
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(codec::to_base64url(content->reveal()), "Nou2ueKlP70ZXDbq9UrRwg");
}

// RFC 7516 appendix A.1 is RSA-OAEP with SHA-1, which is not taken: its content, under its header.
TEST_F(JweTest, OpensTheContentOfRfc7516) {
  const Bytes key{177, 161, 244, 128, 84, 143, 225, 115, 63, 180, 3, 255, 107, 154, 212, 246,
                  138, 7, 110, 91, 112, 46, 34, 105, 47, 130, 203, 46, 122, 234, 64, 252};
  auto sealed = codec::from_base64url("5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A").value();
  append(sealed, codec::from_base64url("XFBoMYUZodetZdvTiFvSkQ").value());
  const auto nonce = to_array<12>(codec::from_base64url("48V1_ALb6US04U3b").value());
  const auto opened = aes_gcm_open(key, nonce, as_bytes("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ"), sealed);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(as_text(opened->reveal()), "The true sign of intelligence is not knowledge but imagination.");
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
  auto even = codec::from_base64url(*rsa.find("n")->as_string()).value();
  even.back() &= 0xFE;
  EXPECT_EQ(code(with(rsa, "n", codec::to_base64url(even))), Errc::key_invalid);
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
