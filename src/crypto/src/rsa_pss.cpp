#include "cloister/crypto/rsa_pss.hpp"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "rsa_pkey.hpp"

namespace cloister::crypto {
namespace {

using Pkcs8Ptr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, ossl::Releaser<PKCS8_PRIV_KEY_INFO_free>>;

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
  auto key = ossl::generate_rsa(bits);
  auto pub = ossl::rsa_public_of(key.get());
  return RsaPssKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Result<RsaPssKey> RsaPssKey::from_pkcs8(ByteView der) {
  CLOISTER_TRY(key, ossl::parse_rsa_pkcs8(der, kMinBits, kMaxBits));
  auto pub = ossl::rsa_public_of(key.get());
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
