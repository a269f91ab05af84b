// Wycheproof on what JWE is made of: ECDH on the three curves, AES key wrap, AES-GCM, RSA-OAEP, and JWE itself. What has no
// type here must be refused, whatever the file says of it. So must what it calls acceptable: compressed points, and keys of
// eight bytes that are wrapped (RFC 3394 section 2 asks for two blocks).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/aes.hpp"
#include "cloister/crypto/jwe.hpp"
#include "support/support.hpp"

namespace cloister::crypto {
namespace {

using codec::json::Value;

std::string text(const Value& object, std::string_view name) { return *object.find(name)->as_string(); }
Bytes hex(const Value& object, std::string_view name) { return codec::from_hex(text(object, name)).value(); }
Bytes base64url(const Value& object, std::string_view name) { return codec::from_base64url(text(object, name)).value(); }

bool has_flag(const Value& test, std::string_view flag) {
  const auto& flags = *test.find("flags")->as_array();
  return std::ranges::any_of(flags, [&](const Value& one) { return *one.as_string() == flag; });
}

class WycheproofJose : public testing::Test {
 protected:
  using Accepts = std::function<bool(const Value& group, const Value& test)>;

  /// `usable`: cases of forms that have a type here; others must be refused.
  void run(const std::string& name, const Accepts& accepts, const Accepts& usable = nullptr) {
    CLOISTER_VECTORS_OR_SKIP(folder);
    const auto document = codec::json::parse(test::read_text(folder / "crypto/wycheproof" / (name + "_test.json")),
                                             {.bytes = 16U << 20}).value();
    std::size_t cases = 0;
    std::size_t valid = 0;
    for (const auto& group : *document.find("testGroups")->as_array()) {
      for (const auto& test : *group.find("tests")->as_array()) {
        ++cases;
        const auto result = text(test, "result");
        ASSERT_TRUE(result != "acceptable" || has_flag(test, "CompressedPoint") || has_flag(test, "ShortKey"))
            << "an acceptable case nobody decided on";
        const bool expected = result == "valid" && (!usable || usable(group, test));
        valid += expected ? 1 : 0;
        EXPECT_EQ(accepts(group, test), expected)
            << name << " case " << test.find("tcId")->as_int().value_or(0) << ": " << text(test, "comment");
      }
    }
    EXPECT_EQ(cases, document.find("numberOfTests")->as_uint());
    EXPECT_GT(valid, 0U);
  }

  void run_ecdh(const std::string& name, DhCurve curve) {
    const auto size = coordinate_size(curve);
    // Compressed points have no type here: JWKs have none.
    const auto uncompressed = [size](const Value&, const Value& test) { return hex(test, "public").size() == 1 + 2 * size; };
    run(name, [&](const Value&, const Value& test) {
      const auto point = hex(test, "public");
      if (point.empty() || point.front() != 0x04) return false;
      const auto peer = DhPublicKey::from_xy(curve, ByteView{point}.subspan(1));
      if (!peer) return false;
      auto scalar = hex(test, "private");
      while (scalar.size() > size && scalar.front() == 0) scalar.erase(scalar.begin());
      while (scalar.size() < size) scalar.insert(scalar.begin(), 0);
      const auto key = DhPrivateKey::from_scalar(curve, SecretBytes::copy_of(scalar));
      if (!key) return false;
      const auto shared = key->agree(*peer);
      return shared.ok() && equal(shared->reveal(), hex(test, "shared"));
    }, uncompressed);
  }
};

TEST_F(WycheproofJose, EcdhP256) { run_ecdh("ecdh_secp256r1_ecpoint", DhCurve::p256); }
TEST_F(WycheproofJose, EcdhP384) { run_ecdh("ecdh_secp384r1_ecpoint", DhCurve::p384); }
TEST_F(WycheproofJose, EcdhP521) { run_ecdh("ecdh_secp521r1_ecpoint", DhCurve::p521); }

TEST_F(WycheproofJose, AesKeyWrap) {
  run("aes_wrap", [](const Value&, const Value& test) {
    const auto key = hex(test, "key");
    const auto opened = aes_key_unwrap(key, hex(test, "ct"));
    if (!opened.ok()) return false;
    return equal(opened->reveal(), hex(test, "msg")) && aes_key_wrap(key, opened->reveal()) == hex(test, "ct");
  });
}

TEST_F(WycheproofJose, AesGcm) {
  const auto usable = [](const Value&, const Value& test) {
    const auto size = hex(test, "key").size();
    return (size == 16 || size == 32) && hex(test, "iv").size() == 12 && hex(test, "tag").size() == 16;
  };
  run("aes_gcm", [&](const Value& group, const Value& test) {
    if (!usable(group, test)) return false;
    auto sealed = hex(test, "ct");
    append(sealed, hex(test, "tag"));
    const auto opened = aes_gcm_open(hex(test, "key"), to_array<12>(hex(test, "iv")), hex(test, "aad"), sealed);
    return opened.ok() && equal(opened->reveal(), hex(test, "msg"));
  }, usable);
}

TEST_F(WycheproofJose, RsaOaep2048Sha256) {
  const auto unlabelled = [](const Value&, const Value& test) { return text(test, "label").empty(); };
  run("rsa_oaep_2048_sha256_mgf1sha256", [](const Value& group, const Value& test) {
    const auto key = RsaOaepKey::from_pkcs8(hex(group, "privateKeyPkcs8"));
    EXPECT_TRUE(key.ok());
    const auto opened = key->decrypt(hex(test, "ct"));
    return opened.ok() && equal(opened->reveal(), hex(test, "msg"));
  }, unlabelled);
}

/// INTEGER of DER.
void put_integer(Bytes& out, ByteView big_endian) {
  Bytes contents;
  if (big_endian.front() >= 0x80) contents.push_back(0);
  append(contents, big_endian);
  out.push_back(0x02);
  out.push_back(0x82);
  out.push_back(static_cast<std::uint8_t>(contents.size() >> 8));
  out.push_back(static_cast<std::uint8_t>(contents.size()));
  append(out, contents);
}

Bytes wrapped_in(std::uint8_t tag, ByteView contents) {
  Bytes out{tag, 0x82, static_cast<std::uint8_t>(contents.size() >> 8), static_cast<std::uint8_t>(contents.size())};
  append(out, contents);
  return out;
}

/// PKCS#8 of a private JWK; lengths in two bytes throughout, which OpenSSL takes.
Bytes pkcs8(const Value& jwk) {
  Bytes rsa{0x02, 0x01, 0x00};
  for (const auto* name : {"n", "e", "d", "p", "q", "dp", "dq", "qi"}) put_integer(rsa, base64url(jwk, name));
  Bytes out{0x02, 0x01, 0x00, 0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00};
  append(out, wrapped_in(0x04, wrapped_in(0x30, rsa)));
  return wrapped_in(0x30, out);
}

std::optional<jose::DecryptionKey> key_of(const Value& jwk) {
  const auto algorithm = jwk.find("alg") != nullptr ? text(jwk, "alg") : std::string{};
  if (algorithm == "ECDH-ES+A256KW" && text(jwk, "crv") == "P-256") {
    return jose::DecryptionKey{DhPrivateKey::from_scalar(DhCurve::p256, SecretBytes::copy_of(base64url(jwk, "d"))).value()};
  }
  if (algorithm == "RSA-OAEP-256") return jose::DecryptionKey{RsaOaepKey::from_pkcs8(pkcs8(jwk)).value()};
  return std::nullopt;
}

/// The five parts of the compact serialisation (RFC 7516 section 7.1).
std::optional<jose::Jwe> compact(std::string_view token) {
  std::array<std::string, 5> parts;
  std::istringstream in{std::string{token}};
  for (auto& part : parts) std::getline(in, part, '.');
  if (!in.eof() || std::ranges::count(token, '.') != 4) return std::nullopt;
  jose::Jwe out{.protected_header = parts[0], .encrypted_key = {}, .iv = {}, .ciphertext = {}, .tag = {}};
  Bytes* const members[] = {&out.encrypted_key, &out.iv, &out.ciphertext, &out.tag};
  for (std::size_t i = 0; i < 4; ++i) {
    auto bytes = codec::from_base64url(parts[i + 1]);
    if (!bytes) return std::nullopt;
    *members[i] = *std::move(bytes);
  }
  return out;
}

TEST_F(WycheproofJose, Jwe) {
  const auto usable = [](const Value& group, const Value& test) {
    return key_of(*group.find("private")).has_value() && test.find("enc") != nullptr && text(test, "enc") == "A256GCM";
  };
  run("json_web_encryption", [](const Value& group, const Value& test) {
    const auto key = key_of(*group.find("private"));
    const auto message = compact(text(test, "jwe"));
    if (!key || !message) return false;
    const auto opened = jose::decrypt(*message, *key);
    return opened.ok() && (test.find("pt") == nullptr || equal(opened->reveal(), hex(test, "pt")));
  }, usable);
}

}  // namespace
}  // namespace cloister::crypto
