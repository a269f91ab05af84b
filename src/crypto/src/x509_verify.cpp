#include <openssl/rsa.h>

#include "cloister/crypto/x509.hpp"
#include "rsa_pkey.hpp"
#include "x509_rsa.hpp"

namespace cloister::crypto::x509 {
namespace {

constexpr std::size_t kMinRsaBytes = 256;
constexpr std::size_t kMaxRsaBytes = 1024;
constexpr std::size_t kMaxExponentBytes = 8;

Error mismatch() { return ossl::refused(Errc::signature_invalid, "the signature is not the issuer's over these bytes"); }

Error unfit() { return Error{Errc::unsupported, "signature: an algorithm that is not supported with the issuer's key"}; }

std::optional<RsaScheme> rsa_scheme(SignatureAlgorithm algorithm) noexcept {
  switch (algorithm) {
    case SignatureAlgorithm::rsa_pss_sha384: return RsaScheme{"SHA2-384", true};
    case SignatureAlgorithm::rsa_pkcs1_sha256: return RsaScheme{"SHA2-256", false};
    case SignatureAlgorithm::rsa_pkcs1_sha384: return RsaScheme{"SHA2-384", false};
    case SignatureAlgorithm::ecdsa_sha256:
    case SignatureAlgorithm::ecdsa_sha384:
    case SignatureAlgorithm::other: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

Result<void> verify_rsa(const RsaPublicKey& key, const RsaScheme& scheme, ByteView message, ByteView signature) {
  if (key.modulus.size() < kMinRsaBytes || key.modulus.size() > kMaxRsaBytes ||
      key.exponent.size() > kMaxExponentBytes) {
    return unfit();
  }
  const auto handle = ossl::rsa_from_public(key);
  if (!handle) return mismatch();
  const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  EVP_PKEY_CTX* settings = nullptr;  // owned by `context`
  ossl::must(EVP_DigestVerifyInit_ex(context.get(), &settings, scheme.hash, nullptr, nullptr, handle.get(), nullptr));
  if (scheme.pss) {
    ossl::must(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING));
    ossl::must(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST));
  } else {
    ossl::must(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PADDING));
  }
  if (EVP_DigestVerify(context.get(), ossl::data(signature), signature.size(), ossl::data(message), message.size()) !=
      1) {
    return mismatch();
  }
  return {};
}

namespace {

/// The curve whose hash the algorithm names.
std::optional<Curve> ecdsa_curve(SignatureAlgorithm algorithm) noexcept {
  if (algorithm == SignatureAlgorithm::ecdsa_sha256) return Curve::p256;
  if (algorithm == SignatureAlgorithm::ecdsa_sha384) return Curve::p384;
  return std::nullopt;
}

template <class Signed>
Result<void> verify_once(const Signed& what, const Certificate& issuer) {
  const auto algorithm = what.algorithm;
  if (const auto* key = std::get_if<EcPublicKey>(&issuer.key)) {
    if (ecdsa_curve(algorithm) != key->curve() || what.tbs.digest().size() != field_size(key->curve())) return unfit();
    return key->verify_digest_der(what.tbs.digest(), what.signature);
  }
  const auto* key = std::get_if<RsaPublicKey>(&issuer.key);
  const auto scheme = rsa_scheme(algorithm);
  if (key == nullptr || !scheme) return unfit();
  return verify_rsa(*key, *scheme, what.tbs, what.signature);
}

/// The key is the whole SubjectPublicKeyInfo. The algorithm is not in an entry's scheme: it is in the signed bytes, as
/// parsing made sure, and so in their digest.
template <class Signed>
Result<void> verify(const Signed& what, const Certificate& issuer, SignatureCache* cache) {
  if (cache == nullptr || what.algorithm == SignatureAlgorithm::other) return verify_once(what, issuer);
  const auto scheme = ecdsa_curve(what.algorithm) ? SignatureCache::Scheme::ecdsa_der : SignatureCache::Scheme::rsa;
  const auto id = cache->id(scheme, issuer.public_key_info, what.tbs.digest(), what.signature);
  if (cache->holds(id)) return {};
  if (auto valid = verify_once(what, issuer); !valid) return valid;
  cache->add(id);
  return {};
}

}  // namespace

Result<void> verify_signature(const Certificate& certificate, const Certificate& issuer, SignatureCache* cache) {
  return verify(certificate, issuer, cache);
}

Result<void> verify_signature(const Crl& crl, const Certificate& issuer, SignatureCache* cache) {
  return verify(crl, issuer, cache);
}

}  // namespace cloister::crypto::x509
