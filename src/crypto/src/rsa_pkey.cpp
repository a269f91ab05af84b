#include "rsa_pkey.hpp"

#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

namespace cloister::crypto::ossl {
namespace {

using ParamBuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, Releaser<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, Releaser<OSSL_PARAM_free>>;
using Pkcs8Ptr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, Releaser<PKCS8_PRIV_KEY_INFO_free>>;

Bytes number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  must(EVP_PKEY_get_bn_param(key, name, &raw));
  const BnPtr number{raw};
  Bytes out(static_cast<std::size_t>(BN_num_bytes(number.get())));
  CLOISTER_ASSERT(BN_bn2bin(number.get(), out.data()) == static_cast<int>(out.size()));
  return out;
}

}  // namespace

BnPtr number_from(ByteView big_endian) {
  return made(BnPtr{BN_bin2bn(data(big_endian), static_cast<int>(big_endian.size()), nullptr)});
}

PkeyPtr rsa_from_public(const x509::RsaPublicKey& key) {
  const auto modulus = number_from(key.modulus);
  const auto exponent = number_from(key.exponent);
  const auto builder = made(ParamBuilderPtr{OSSL_PARAM_BLD_new()});
  must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()));
  must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()));
  const auto parameters = made(ParamsPtr{OSSL_PARAM_BLD_to_param(builder.get())});
  const auto context = made(PkeyCtxPtr{EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr)});
  must(EVP_PKEY_fromdata_init(context.get()));
  EVP_PKEY* out = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &out, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) return nullptr;
  return PkeyPtr{out};
}

x509::RsaPublicKey rsa_public_of(const EVP_PKEY* key) {
  return {.modulus = number_of(key, OSSL_PKEY_PARAM_RSA_N), .exponent = number_of(key, OSSL_PKEY_PARAM_RSA_E)};
}

PkeyPtr generate_rsa(unsigned bits) { return made(PkeyPtr{EVP_RSA_gen(bits)}); }

Result<PkeyPtr> parse_rsa_pkcs8(ByteView der, unsigned min_bits, unsigned max_bits) {
  const auto* cursor = der.data();
  const Pkcs8Ptr info{d2i_PKCS8_PRIV_KEY_INFO(nullptr, &cursor, static_cast<long>(der.size()))};
  if (!info || cursor != der.data() + der.size()) return refused(Errc::key_invalid, "a PKCS#8 private key expected");
  PkeyPtr key{EVP_PKCS82PKEY(info.get())};
  if (!key || EVP_PKEY_is_a(key.get(), "RSA") != 1) return refused(Errc::key_invalid, "an RSA private key expected");
  const auto bits = EVP_PKEY_get_bits(key.get());
  if (bits < static_cast<int>(min_bits) || bits > static_cast<int>(max_bits)) {
    return Error{Errc::key_invalid, "an RSA key of " + std::to_string(min_bits) + " to " + std::to_string(max_bits) +
                                        " bits expected, got " + std::to_string(bits)};
  }
  const PkeyCtxPtr check{EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr)};
  if (!check || EVP_PKEY_pairwise_check(check.get()) != 1) {
    return refused(Errc::key_invalid, "the parts of the RSA key do not fit each other");
  }
  return key;
}

}  // namespace cloister::crypto::ossl
