#include "cloister/crypto/rsa_oaep.hpp"

#include <openssl/rsa.h>

#include "rsa_pkey.hpp"

namespace cloister::crypto {
namespace {

constexpr std::size_t kMinModulus = 256;  // bytes
constexpr std::size_t kMaxModulus = 1024;
constexpr std::size_t kMaxExponent = 8;
constexpr std::size_t kOverhead = 2 * 32 + 2;  // RFC 8017 section 7.1.1, step 1b
constexpr unsigned kMinBits = 2048;
constexpr unsigned kMaxBits = 4096;

void use_oaep(EVP_PKEY_CTX* context) {
  ossl::must(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING));
  ossl::must(EVP_PKEY_CTX_set_rsa_oaep_md_name(context, "SHA2-256", nullptr));
  ossl::must(EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, "SHA2-256", nullptr));
}

}  // namespace

Result<Bytes> rsa_oaep_encrypt(const RsaPublicKey& key, ByteView message) {
  const auto size = key.modulus.size();
  if (size < kMinModulus || size > kMaxModulus || key.exponent.empty() || key.exponent.size() > kMaxExponent) {
    return Error{Errc::key_invalid, "RSA: a key of 2048 to 8192 bits expected"};
  }
  if (message.size() > size - kOverhead) {
    return Error{Errc::limit_exceeded, "RSA-OAEP: at most " + std::to_string(size - kOverhead) + " bytes expected"};
  }
  const auto handle = ossl::rsa_from_public(key);
  if (!handle) return ossl::refused(Errc::key_invalid, "RSA: no public key");
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, handle.get(), nullptr)});
  ossl::must(EVP_PKEY_encrypt_init(context.get()));
  use_oaep(context.get());
  Bytes out(size);
  std::size_t written = out.size();
  if (EVP_PKEY_encrypt(context.get(), out.data(), &written, ossl::data(message), message.size()) != 1 || written != size) {
    return ossl::refused(Errc::key_invalid, "RSA-OAEP: the key does not encrypt");
  }
  return out;
}

struct RsaOaepKey::Handle {
  ossl::PkeyPtr key;
};

RsaOaepKey::RsaOaepKey(RsaPublicKey pub, std::unique_ptr<const Handle> handle)
    : public_{std::move(pub)}, handle_{std::move(handle)} {}
RsaOaepKey::RsaOaepKey(RsaOaepKey&&) noexcept = default;
RsaOaepKey& RsaOaepKey::operator=(RsaOaepKey&&) noexcept = default;
RsaOaepKey::~RsaOaepKey() = default;

RsaOaepKey RsaOaepKey::generate(unsigned bits) {
  CLOISTER_ASSERT(bits >= kMinBits && bits <= kMaxBits);
  auto key = ossl::generate_rsa(bits);
  auto pub = ossl::rsa_public_of(key.get());
  return RsaOaepKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Result<RsaOaepKey> RsaOaepKey::from_pkcs8(ByteView der) {
  CLOISTER_TRY(key, ossl::parse_rsa_pkcs8(der, kMinBits, kMaxBits));
  auto pub = ossl::rsa_public_of(key.get());
  return RsaOaepKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Result<SecretBytes> RsaOaepKey::decrypt(ByteView ciphertext) const {
  const auto failed = [] { return ossl::refused(Errc::decryption_failed, "RSA-OAEP: wrong key, or changed on the way"); };
  if (ciphertext.size() != public_.modulus.size()) return failed();
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, handle_->key.get(), nullptr)});
  ossl::must(EVP_PKEY_decrypt_init(context.get()));
  use_oaep(context.get());
  SecretBytes room{ciphertext.size()};
  std::size_t size = room.size();
  if (EVP_PKEY_decrypt(context.get(), room.writable().data(), &size, ciphertext.data(), ciphertext.size()) != 1) return failed();
  return SecretBytes::copy_of(room.reveal().first(size));
}

}  // namespace cloister::crypto
