#include "cloister/crypto/rsa_pss.hpp"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "openssl.hpp"

namespace cloister::crypto {
namespace {

using Pkcs8Ptr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, ossl::Releaser<PKCS8_PRIV_KEY_INFO_free>>;

Bytes number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  ossl::must(EVP_PKEY_get_bn_param(key, name, &raw));
  const ossl::BnPtr number{raw};
  Bytes out(static_cast<std::size_t>(BN_num_bytes(number.get())));
  CLOISTER_ASSERT(BN_bn2bin(number.get(), out.data()) == static_cast<int>(out.size()));
  return out;
}

x509::RsaPublicKey public_of(const EVP_PKEY* key) {
  return {.modulus = number_of(key, OSSL_PKEY_PARAM_RSA_N), .exponent = number_of(key, OSSL_PKEY_PARAM_RSA_E)};
}

}  // namespace

struct RsaPssKey::Handle {
  ossl::PkeyPtr key;
};

RsaPssKey::RsaPssKey(x509::RsaPublicKey pub, std::unique_ptr<const Handle> handle)
    : public_{std::move(pub)}, handle_{std::move(handle)} {}
RsaPssKey::RsaPssKey(RsaPssKey&&) noexcept = default;
RsaPssKey& RsaPssKey::operator=(RsaPssKey&&) noexcept = default;
RsaPssKey::~RsaPssKey() = default;

RsaPssKey RsaPssKey::generate(unsigned bits) {
  CLOISTER_ASSERT(bits >= kMinBits && bits <= kMaxBits);
  auto key = ossl::made(ossl::PkeyPtr{EVP_RSA_gen(bits)});
  auto pub = public_of(key.get());
  return RsaPssKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Result<RsaPssKey> RsaPssKey::from_pkcs8(ByteView der) {
  const auto* cursor = der.data();
  const Pkcs8Ptr info{d2i_PKCS8_PRIV_KEY_INFO(nullptr, &cursor, static_cast<long>(der.size()))};
  if (!info || cursor != der.data() + der.size()) return ossl::refused(Errc::key_invalid, "a PKCS#8 private key expected");
  ossl::PkeyPtr key{EVP_PKCS82PKEY(info.get())};
  if (!key || EVP_PKEY_is_a(key.get(), "RSA") != 1) return ossl::refused(Errc::key_invalid, "an RSA private key expected");
  const auto bits = EVP_PKEY_get_bits(key.get());
  if (bits < static_cast<int>(kMinBits) || bits > static_cast<int>(kMaxBits)) {
    return Error{Errc::key_invalid, "an RSA key of 2048 to 4096 bits expected, got " + std::to_string(bits)};
  }
  const ossl::PkeyCtxPtr check{EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr)};
  if (!check || EVP_PKEY_pairwise_check(check.get()) != 1) {
    return ossl::refused(Errc::key_invalid, "the parts of the RSA key do not fit each other");
  }
  auto pub = public_of(key.get());
  return RsaPssKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

SecretBytes RsaPssKey::to_pkcs8() const {
  const auto info = ossl::made(Pkcs8Ptr{EVP_PKEY2PKCS8(handle_->key.get())});
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr);
  CLOISTER_ASSERT(size > 0);
  SecretBytes out{static_cast<std::size_t>(size)};
  auto* cursor = out.writable().data();
  CLOISTER_ASSERT(i2d_PKCS8_PRIV_KEY_INFO(info.get(), &cursor) == size);
  return out;
}

Bytes RsaPssKey::sign(ByteView message) const {
  const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  EVP_PKEY_CTX* settings = nullptr;  // owned by `context`
  ossl::must(EVP_DigestSignInit_ex(context.get(), &settings, "SHA2-384", nullptr, nullptr, handle_->key.get(), nullptr));
  ossl::must(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING));
  ossl::must(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST));
  std::size_t size = 0;
  ossl::must(EVP_DigestSign(context.get(), nullptr, &size, ossl::data(message), message.size()));
  Bytes out(size);
  ossl::must(EVP_DigestSign(context.get(), out.data(), &size, ossl::data(message), message.size()));
  out.resize(size);
  return out;
}

}  // namespace cloister::crypto
