#include "cloister/crypto/curve25519.hpp"

#include <algorithm>
#include <string_view>

#include "cloister/codec/text.hpp"
#include "openssl.hpp"

namespace cloister::crypto {
namespace {

ossl::PkeyPtr private_key(const char* type, const Secret<32>& secret) {
  const auto bytes = secret.reveal();
  return ossl::made(ossl::PkeyPtr{EVP_PKEY_new_raw_private_key_ex(nullptr, type, nullptr, bytes.data(), bytes.size())});
}

ossl::PkeyPtr public_key(const char* type, const ByteArray<32>& bytes) {
  return ossl::made(ossl::PkeyPtr{EVP_PKEY_new_raw_public_key_ex(nullptr, type, nullptr, bytes.data(), bytes.size())});
}

ByteArray<32> public_half(const EVP_PKEY* key) {
  ByteArray<32> out;
  auto size = out.size();
  ossl::must(EVP_PKEY_get_raw_public_key(key, out.data(), &size));
  CLOISTER_ASSERT(size == out.size());
  return out;
}

constexpr const char* kX25519 = "X25519";
constexpr const char* kEd25519 = "ED25519";

/// y of the eight points whose order divides 8, little-endian, and the second encodings of 0 and 1 (p and p + 1).
constexpr std::string_view kSmallOrder[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

}  // namespace

X25519Key X25519Key::generate(Random& random) { return from_private(Secret<32>::random(random)); }

X25519Key X25519Key::from_private(Secret<32> scalar) {
  const auto pub = public_half(crypto::private_key(kX25519, scalar).get());
  return X25519Key{std::move(scalar), pub};
}

Result<Secret<32>> X25519Key::agree(const X25519Public& peer) const {
  const auto mine = crypto::private_key(kX25519, private_);
  const auto theirs = crypto::public_key(kX25519, peer);
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, mine.get(), nullptr)});
  ossl::must(EVP_PKEY_derive_init(context.get()));
  ossl::must(EVP_PKEY_derive_set_peer(context.get(), theirs.get()));
  bool agreed = false;
  auto shared = Secret<32>::from([&](std::span<std::uint8_t, 32> out) {
    auto size = out.size();
    agreed = EVP_PKEY_derive(context.get(), out.data(), &size) == 1 && size == out.size();
  });
  static constexpr ByteArray<32> kZero{};
  if (!agreed || equal(shared.reveal(), kZero)) {
    return ossl::refused(Errc::key_invalid, "X25519: a public key of low order");
  }
  return shared;
}

Ed25519Key Ed25519Key::generate(Random& random) { return from_seed(Secret<32>::random(random)); }

Ed25519Key Ed25519Key::from_seed(Secret<32> seed) {
  const auto pub = public_half(crypto::private_key(kEd25519, seed).get());
  return Ed25519Key{std::move(seed), pub};
}

Ed25519Signature Ed25519Key::sign(ByteView message) const {
  const auto key = crypto::private_key(kEd25519, seed_);
  const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  ossl::must(EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, key.get(), nullptr));
  Ed25519Signature out;
  auto size = out.size();
  ossl::must(EVP_DigestSign(context.get(), out.data(), &size, ossl::data(message), message.size()));
  CLOISTER_ASSERT(size == out.size());
  return out;
}

Result<void> check_ed25519_key(const Ed25519Public& key) {
  auto y = key;
  y[31] &= 0x7F;  // the sign of x
  const bool small = std::ranges::any_of(kSmallOrder, [&](std::string_view one) { return codec::to_hex(y) == one; });
  return small ? Result<void>{Error{Errc::key_invalid, "Ed25519: a point of small order"}} : Result<void>{};
}

Result<void> ed25519_verify(const Ed25519Public& key, ByteView message, ByteView signature) {
  if (signature.size() != sizeof(Ed25519Signature)) {
    return Error{Errc::signature_invalid, "Ed25519: 64 bytes expected, got " + std::to_string(signature.size())};
  }
  if (const auto sound = check_ed25519_key(key); !sound) return Error{Errc::signature_invalid, sound.error().detail()};
  const auto handle = public_key(kEd25519, key);
  const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  ossl::must(EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, handle.get(), nullptr));
  if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), ossl::data(message), message.size()) != 1) {
    return ossl::refused(Errc::signature_invalid, "Ed25519: the signature is not this key's over these bytes");
  }
  return {};
}

}  // namespace cloister::crypto
