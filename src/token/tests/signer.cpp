#include "signer.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <optional>

#include "cloister/codec/text.hpp"
#include "cloister/core/assert.hpp"

namespace cloister::token {
namespace {

using crypto::jose::Algorithm;
using crypto::jose::Jwk;

Bytes number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  CLOISTER_ASSERT(EVP_PKEY_get_bn_param(key, name, &number) == 1);
  Bytes out(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, out.data());
  BN_free(number);
  return out;
}

}  // namespace

struct Signer::Key {
  explicit Key(Algorithm which) : algorithm{which} {
    if (which == Algorithm::es256) ec = crypto::EcPrivateKey::generate(crypto::Curve::p256);
    if (which == Algorithm::es384) ec = crypto::EcPrivateKey::generate(crypto::Curve::p384);
    if (!ec) rsa = EVP_RSA_gen(2048);
  }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { EVP_PKEY_free(rsa); }

  [[nodiscard]] crypto::jose::PublicKey public_key() const {
    if (ec) return ec->public_key();
    return crypto::x509::RsaPublicKey{number_of(rsa, OSSL_PKEY_PARAM_RSA_N), number_of(rsa, OSSL_PKEY_PARAM_RSA_E)};
  }

  [[nodiscard]] Bytes sign(ByteView message) const {
    if (ec) return ec->sign(message);
    const bool pss = algorithm == Algorithm::ps384;
    auto* context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* settings = nullptr;
    CLOISTER_ASSERT(EVP_DigestSignInit_ex(context, &settings, pss ? "SHA2-384" : "SHA2-256", nullptr, nullptr, rsa, nullptr) == 1);
    if (pss) {
      CLOISTER_ASSERT(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1);
      CLOISTER_ASSERT(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    std::size_t size = 0;
    CLOISTER_ASSERT(EVP_DigestSign(context, nullptr, &size, message.data(), message.size()) == 1);
    Bytes out(size);
    CLOISTER_ASSERT(EVP_DigestSign(context, out.data(), &size, message.data(), message.size()) == 1);
    EVP_MD_CTX_free(context);
    return out;
  }

  Algorithm algorithm;
  std::optional<crypto::EcPrivateKey> ec;
  EVP_PKEY* rsa = nullptr;
};

Signer::Signer(Algorithm algorithm, std::string key_id)
    : key_{std::make_unique<const Key>(algorithm)}, jwk_{key_->public_key(), algorithm, std::move(key_id)} {}
Signer::~Signer() = default;

std::string Signer::sign(const codec::json::Value& header, const codec::json::Value& payload) const {
  auto token = codec::to_base64url(as_bytes(codec::json::write(header))) + "." +
               codec::to_base64url(as_bytes(codec::json::write(payload)));
  return token + "." + codec::to_base64url(key_->sign(as_bytes(token)));
}

std::string Signer::sign(const codec::json::Value& payload) const {
  return sign(codec::json::Object{{"alg", to_string(jwk_.algorithm)}, {"typ", "JWT"}, {"kid", jwk_.key_id}}, payload);
}

}  // namespace cloister::token
