#include "cloister/crypto/rsa_oaep.hpp"

#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "openssl.hpp"

namespace cloister::crypto {
namespace {

using ParamBuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, ossl::Releaser<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, ossl::Releaser<OSSL_PARAM_free>>;
using Pkcs8Ptr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, ossl::Releaser<PKCS8_PRIV_KEY_INFO_free>>;

constexpr std::size_t kMinModulus = 256;  // bytes
constexpr std::size_t kMaxModulus = 1024;
constexpr std::size_t kMaxExponent = 8;
constexpr std::size_t kOverhead = 2 * 32 + 2;  // RFC 8017 section 7.1.1, step 1b
constexpr int kMinBits = 2048;
constexpr int kMaxBits = 4096;

ossl::BnPtr number(ByteView big_endian) {
  return ossl::made(ossl::BnPtr{BN_bin2bn(ossl::data(big_endian), static_cast<int>(big_endian.size()), nullptr)});
}

Bytes number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  ossl::must(EVP_PKEY_get_bn_param(key, name, &raw));
  const ossl::BnPtr value{raw};
  Bytes out(static_cast<std::size_t>(BN_num_bytes(value.get())));
  CLOISTER_ASSERT(BN_bn2bin(value.get(), out.data()) == static_cast<int>(out.size()));
  return out;
}

RsaPublicKey public_of(const EVP_PKEY* key) {
  return {.modulus = number_of(key, OSSL_PKEY_PARAM_RSA_N), .exponent = number_of(key, OSSL_PKEY_PARAM_RSA_E)};
}

ossl::PkeyPtr public_handle(const RsaPublicKey& key) {
  const auto n = number(key.modulus);
  const auto e = number(key.exponent);
  const auto builder = ossl::made(ParamBuilderPtr{OSSL_PARAM_BLD_new()});
  ossl::must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()));
  ossl::must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()));
  const auto parameters = ossl::made(ParamsPtr{OSSL_PARAM_BLD_to_param(builder.get())});
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr)});
  ossl::must(EVP_PKEY_fromdata_init(context.get()));
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) return nullptr;
  return ossl::PkeyPtr{made};
}

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
  const auto handle = public_handle(key);
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
  CLOISTER_ASSERT(static_cast<int>(bits) >= kMinBits && static_cast<int>(bits) <= kMaxBits);
  auto key = ossl::made(ossl::PkeyPtr{EVP_RSA_gen(bits)});
  auto pub = public_of(key.get());
  return RsaOaepKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Result<RsaOaepKey> RsaOaepKey::from_pkcs8(ByteView der) {
  const auto* cursor = der.data();
  const Pkcs8Ptr info{d2i_PKCS8_PRIV_KEY_INFO(nullptr, &cursor, static_cast<long>(der.size()))};
  if (!info || cursor != der.data() + der.size()) return ossl::refused(Errc::key_invalid, "a PKCS#8 private key expected");
  ossl::PkeyPtr key{EVP_PKCS82PKEY(info.get())};
  if (!key || EVP_PKEY_is_a(key.get(), "RSA") != 1) return ossl::refused(Errc::key_invalid, "an RSA private key expected");
  const auto bits = EVP_PKEY_get_bits(key.get());
  if (bits < kMinBits || bits > kMaxBits) {
    return Error{Errc::key_invalid, "an RSA key of 2048 to 4096 bits expected, got " + std::to_string(bits)};
  }
  auto pub = public_of(key.get());
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
