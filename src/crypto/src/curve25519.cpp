#include "cloister/crypto/curve25519.hpp"

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

Result<void> ed25519_verify(const Ed25519Public& key, ByteView message, ByteView signature) {
  if (signature.size() != sizeof(Ed25519Signature)) {
    return Error{Errc::signature_invalid, "Ed25519: 64 bytes expected, got " + std::to_string(signature.size())};
  }
  const auto handle = public_key(kEd25519, key);
  const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  ossl::must(EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, handle.get(), nullptr));
  if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), ossl::data(message), message.size()) != 1) {
    return ossl::refused(Errc::signature_invalid, "Ed25519: the signature is not this key's over these bytes");
  }
  return {};
}

}  // namespace cloister::crypto
