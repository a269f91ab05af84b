#include "cloister/crypto/rsa.hpp"

#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "cloister/crypto/hash.hpp"
#include "rsa_pkey.hpp"
#include "x509_rsa.hpp"

namespace cloister::crypto {
namespace {

using ParamBuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, ossl::Releaser<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, ossl::Releaser<OSSL_PARAM_free>>;

constexpr std::size_t kModulusBytes = 384;
constexpr std::size_t kPrimeBytes = kModulusBytes / 2;
constexpr BN_ULONG kExponent = 3;

Bytes padded(const BIGNUM* value, std::size_t size) {
  Bytes out(size);
  CLOISTER_ASSERT(BN_bn2binpad(value, out.data(), static_cast<int>(size)) == static_cast<int>(size));
  return out;
}

/// The first prime p from the start on with 3 not dividing p - 1. Its two highest bits are set, so that the product of
/// two has the full length.
ossl::BnPtr prime_from(ByteView seed, ByteView info, BN_CTX* context) {
  auto start = hkdf({}, seed, info, kPrimeBytes);
  start.writable().front() |= 0xC0;
  start.writable().back() |= 1;
  auto candidate = ossl::number_from(start.reveal());
  while (BN_mod_word(candidate.get(), kExponent) == 1 || BN_check_prime(candidate.get(), context, nullptr) != 1) {
    ossl::must(BN_add_word(candidate.get(), 2));
  }
  return candidate;
}

Bytes with_suffix(ByteView info, std::string_view suffix) {
  auto out = to_bytes(info);
  append(out, as_bytes(suffix));
  return out;
}

ossl::BnPtr fresh() { return ossl::made(ossl::BnPtr{BN_new()}); }

/// value - 1
ossl::BnPtr less_one(const BIGNUM* value) {
  auto out = ossl::made(ossl::BnPtr{BN_dup(value)});
  ossl::must(BN_sub_word(out.get(), 1));
  return out;
}

ossl::PkeyPtr assemble(const BIGNUM* p, const BIGNUM* q, BN_CTX* context) {
  const auto n = fresh();
  const auto e = fresh();
  const auto phi = fresh();
  ossl::must(BN_mul(n.get(), p, q, context));
  ossl::must(BN_set_word(e.get(), kExponent));
  ossl::must(BN_mul(phi.get(), less_one(p).get(), less_one(q).get(), context));
  const auto d = ossl::made(ossl::BnPtr{BN_mod_inverse(nullptr, e.get(), phi.get(), context)});
  const auto builder = ossl::made(ParamBuilderPtr{OSSL_PARAM_BLD_new()});
  ossl::must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()));
  ossl::must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()));
  ossl::must(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_D, d.get()));
  const auto parameters = ossl::made(ParamsPtr{OSSL_PARAM_BLD_to_param(builder.get())});
  const auto maker = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr)});
  EVP_PKEY* key = nullptr;
  ossl::must(EVP_PKEY_fromdata_init(maker.get()));
  ossl::must(EVP_PKEY_fromdata(maker.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()));
  return ossl::made(ossl::PkeyPtr{key});
}

}  // namespace

Result<void> verify_rsa_pkcs1_sha256(const RsaPublicKey& key, ByteView message, ByteView signature) {
  return x509::verify_rsa(key, {.hash = "SHA2-256", .pss = false}, message, signature);
}

struct RsaPrivateKey::Handle {
  ossl::PkeyPtr key;
};

RsaPrivateKey::RsaPrivateKey(RsaPublicKey pub, std::unique_ptr<const Handle> handle)
    : public_{std::move(pub)}, handle_{std::move(handle)} {}
RsaPrivateKey::RsaPrivateKey(RsaPrivateKey&&) noexcept = default;
RsaPrivateKey& RsaPrivateKey::operator=(RsaPrivateKey&&) noexcept = default;
RsaPrivateKey::~RsaPrivateKey() = default;

RsaPrivateKey RsaPrivateKey::derive_3072_e3(ByteView seed, ByteView info) {
  const auto context = ossl::made(ossl::BnCtxPtr{BN_CTX_secure_new()});
  const auto p = prime_from(seed, with_suffix(info, "/p"), context.get());
  const auto q = prime_from(seed, with_suffix(info, "/q"), context.get());
  auto key = assemble(p.get(), q.get(), context.get());
  const auto n = fresh();
  ossl::must(BN_mul(n.get(), p.get(), q.get(), context.get()));
  RsaPublicKey pub{.modulus = padded(n.get(), kModulusBytes), .exponent = {static_cast<std::uint8_t>(kExponent)}};
  return {std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Bytes RsaPrivateKey::sign_pkcs1_sha256(ByteView message) const {
  const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  EVP_PKEY_CTX* settings = nullptr;  // owned by `context`
  ossl::must(EVP_DigestSignInit_ex(context.get(), &settings, "SHA2-256", nullptr, nullptr, handle_->key.get(), nullptr));
  ossl::must(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PADDING));
  Bytes out(public_.modulus.size());
  std::size_t size = out.size();
  ossl::must(EVP_DigestSign(context.get(), out.data(), &size, ossl::data(message), message.size()));
  CLOISTER_ASSERT(size == out.size());
  return out;
}

Result<MultipliedAndDivided> multiply_and_divide(ByteView a, ByteView b, ByteView n) {
  const auto left = ossl::number_from(a);
  const auto right = ossl::number_from(b);
  const auto divisor = ossl::number_from(n);
  if (BN_cmp(left.get(), divisor.get()) >= 0 || BN_cmp(right.get(), divisor.get()) >= 0) {
    return Error{Errc::invalid_argument, "factors below the divisor expected"};
  }
  const auto context = ossl::made(ossl::BnCtxPtr{BN_CTX_new()});
  const auto product = fresh();
  const auto quotient = fresh();
  const auto remainder = fresh();
  ossl::must(BN_mul(product.get(), left.get(), right.get(), context.get()));
  ossl::must(BN_div(quotient.get(), remainder.get(), product.get(), divisor.get(), context.get()));
  return MultipliedAndDivided{padded(quotient.get(), n.size()), padded(remainder.get(), n.size())};
}

}  // namespace cloister::crypto
