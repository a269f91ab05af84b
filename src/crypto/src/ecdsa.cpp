#include "cloister/crypto/ecdsa.hpp"

#include <array>

#include "cloister/crypto/hash.hpp"
#include "cloister_rust/ecdsa.h"
#include "openssl.hpp"
#include "public_digest.hpp"

namespace cloister::crypto {
namespace {

const char* group_name(Curve curve) noexcept { return curve == Curve::p256 ? "P-256" : "P-384"; }

ossl::PkeyPtr make_key(int selection, OSSL_PARAM* parameters) {
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr)});
  ossl::must(EVP_PKEY_fromdata_init(context.get()));
  EVP_PKEY* key = nullptr;
  ossl::must(EVP_PKEY_fromdata(context.get(), &key, selection, parameters));
  return ossl::made(ossl::PkeyPtr{key});
}

cr_view view_of(ByteView bytes) noexcept { return {bytes.data(), bytes.size()}; }

/// ECDSA-Sig-Value (RFC 3279 section 2.2.3) of r || s; at most 104 bytes, so every length is one byte.
class DerSignature {
 public:
  explicit DerSignature(ByteView signature) {
    put(0x30);
    put(0);
    integer(signature.first(signature.size() / 2));
    integer(signature.last(signature.size() / 2));
    bytes_[1] = static_cast<std::uint8_t>(size_ - 2);
  }
  [[nodiscard]] ByteView view() const noexcept { return ByteView{bytes_}.first(size_); }

 private:
  void put(std::uint8_t byte) { bytes_[size_++] = byte; }
  void integer(ByteView big_endian) {
    while (big_endian.size() > 1 && big_endian.front() == 0) big_endian = big_endian.subspan(1);
    const bool padded = big_endian.front() >= 0x80;
    put(0x02);
    put(static_cast<std::uint8_t>(big_endian.size() + (padded ? 1 : 0)));
    if (padded) put(0);
    for (const auto byte : big_endian) put(byte);
  }

  ByteArray<2 + 2 * (3 + 48)> bytes_{};
  std::size_t size_ = 0;
};

/// r || s of a DER signature that OpenSSL just made.
Bytes to_fixed(Curve curve, ByteView der) {
  const auto* cursor = der.data();
  const auto parsed = ossl::made(ossl::EcdsaSigPtr{d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(der.size()))});
  const auto size = static_cast<int>(field_size(curve));
  Bytes out(2 * field_size(curve));
  const auto halves = std::span{out};
  CLOISTER_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), halves.first(field_size(curve)).data(), size) == size);
  CLOISTER_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), halves.last(field_size(curve)).data(), size) == size);
  return out;
}

/// x || y of a key.
Bytes point_of(const EVP_PKEY* key, Curve curve) {
  Bytes point(1 + 2 * field_size(curve));
  std::size_t size = 0;
  ossl::must(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size));
  CLOISTER_ASSERT(size == point.size() && point.front() == 0x04);
  return to_bytes(ByteView{point}.subspan(1));
}

/// AWS-LC's key, ready to verify (docs/adr/0070-ecdsa-verification.md).
using KeyPtr = std::unique_ptr<cr_ecdsa_key, ossl::Releaser<cr_ecdsa_key_free>>;

Result<KeyPtr> read_key(Curve curve, ByteView xy) {
  if (xy.size() != 2 * field_size(curve)) {
    return Error{Errc::key_invalid, std::string{group_name(curve)} + ": " + std::to_string(2 * field_size(curve)) +
                                        " bytes of x and y expected, got " + std::to_string(xy.size())};
  }
  // 0x04 || x || y (SEC 1, section 2.3.3).
  ByteArray<1 + 2 * 48> point{0x04};
  std::ranges::copy(xy, point.begin() + 1);
  KeyPtr key{cr_ecdsa_key_new(curve == Curve::p256 ? 256 : 384, {point.data(), 1 + xy.size()})};
  if (!key) return Error{Errc::key_invalid, std::string{group_name(curve)} + ": the point is not on the curve"};
  return key;
}

Result<void> check_der(const KeyPtr& key, Curve curve, ByteView digest, ByteView der) {
  CLOISTER_ASSERT(digest.size() == field_size(curve));  // SHA-256 with P-256, SHA-384 with P-384
  if (cr_ecdsa_verify(key.get(), view_of(digest), view_of(der)) == 1) return {};
  return Error{Errc::signature_invalid, "ECDSA: the signature is not this key's over these bytes"};
}

Result<void> check_fixed(const KeyPtr& key, Curve curve, ByteView digest, ByteView signature) {
  if (signature.size() != 2 * field_size(curve)) {
    return Error{Errc::signature_invalid, "ECDSA: r and s of " + std::to_string(2 * field_size(curve)) +
                                              " bytes expected, got " + std::to_string(signature.size())};
  }
  return check_der(key, curve, digest, DerSignature{signature}.view());
}

}  // namespace

struct EcPublicKey::Handle {
  KeyPtr key;
};

Result<EcPublicKey> EcPublicKey::from_xy(Curve curve, ByteView xy) {
  CLOISTER_TRY(key, read_key(curve, xy));
  return EcPublicKey{curve, to_bytes(xy), std::make_shared<const Handle>(Handle{std::move(key)})};
}

MessageDigest digest_for(Curve curve, ByteView message) {
  if (curve == Curve::p256) return public_sha256({message});
  return public_sha384({message});
}

Result<void> EcPublicKey::verify(ByteView message, ByteView signature) const {
  return verify_digest(digest_for(curve_, message).view(), signature);
}

Result<void> EcPublicKey::verify_der(ByteView message, ByteView der) const {
  return verify_digest_der(digest_for(curve_, message).view(), der);
}

Result<void> EcPublicKey::verify_digest(ByteView digest, ByteView signature) const {
  return check_fixed(handle_->key, curve_, digest, signature);
}

Result<void> EcPublicKey::verify_digest_der(ByteView digest, ByteView der) const {
  return check_der(handle_->key, curve_, digest, der);
}

Result<void> verify_digest_once(Curve curve, ByteView xy, ByteView digest, ByteView signature) {
  CLOISTER_TRY(key, read_key(curve, xy));
  return check_fixed(key, curve, digest, signature);
}

struct EcPrivateKey::Handle {
  ossl::PkeyPtr key;
};

EcPrivateKey::EcPrivateKey(EcPublicKey pub, std::unique_ptr<const Handle> handle)
    : public_{std::move(pub)}, handle_{std::move(handle)} {}
EcPrivateKey::EcPrivateKey(EcPrivateKey&&) noexcept = default;
EcPrivateKey& EcPrivateKey::operator=(EcPrivateKey&&) noexcept = default;
EcPrivateKey::~EcPrivateKey() = default;

EcPrivateKey EcPrivateKey::generate(Curve curve) {
  auto key = ossl::made(ossl::PkeyPtr{EVP_EC_gen(group_name(curve))});
  auto pub = EcPublicKey::from_xy(curve, point_of(key.get(), curve)).value();
  return EcPrivateKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

EcPrivateKey EcPrivateKey::derive(Curve curve, ByteView seed, ByteView info) {
  const auto size = field_size(curve);
  const auto wide = hkdf({}, seed, info, size + 16);
  const auto group = ossl::made(ossl::EcGroupPtr{
      EC_GROUP_new_by_curve_name(curve == Curve::p256 ? NID_X9_62_prime256v1 : NID_secp384r1)});
  const auto arithmetic = ossl::made(ossl::BnCtxPtr{BN_CTX_secure_new()});

  // d = (c mod (n - 1)) + 1
  const auto bound = ossl::made(ossl::BnPtr{BN_dup(EC_GROUP_get0_order(group.get()))});
  ossl::must(BN_sub_word(bound.get(), 1));
  const auto scalar = ossl::made(
      ossl::BnPtr{BN_bin2bn(wide.reveal().data(), static_cast<int>(wide.size()), BN_secure_new())});
  BN_set_flags(scalar.get(), BN_FLG_CONSTTIME);
  ossl::must(BN_nnmod(scalar.get(), scalar.get(), bound.get(), arithmetic.get()));
  ossl::must(BN_add_word(scalar.get(), 1));

  const auto product = ossl::made(ossl::EcPointPtr{EC_POINT_new(group.get())});
  ossl::must(EC_POINT_mul(group.get(), product.get(), scalar.get(), nullptr, nullptr, arithmetic.get()));
  Bytes point(1 + 2 * size);
  CLOISTER_ASSERT(EC_POINT_point2oct(group.get(), product.get(), POINT_CONVERSION_UNCOMPRESSED, point.data(),
                                     point.size(), arithmetic.get()) == point.size());

  SecretBytes native{size};
  CLOISTER_ASSERT(BN_bn2nativepad(scalar.get(), native.writable().data(), static_cast<int>(size)) ==
                  static_cast<int>(size));
  std::string name = group_name(curve);
  std::array parameters{OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name.data(), 0),
                        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
                        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native.writable().data(), size),
                        OSSL_PARAM_construct_end()};
  auto key = make_key(EVP_PKEY_KEYPAIR, parameters.data());
  auto pub = EcPublicKey::from_xy(curve, ByteView{point}.subspan(1)).value();
  return EcPrivateKey{std::move(pub), std::make_unique<const Handle>(Handle{std::move(key)})};
}

Bytes EcPrivateKey::sign_der(ByteView message) const {
  const auto digest = digest_for(public_.curve(), message);
  const auto hash = digest.view();
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, handle_->key.get(), nullptr)});
  ossl::must(EVP_PKEY_sign_init(context.get()));
  std::size_t size = 0;
  ossl::must(EVP_PKEY_sign(context.get(), nullptr, &size, hash.data(), hash.size()));
  Bytes out(size);
  ossl::must(EVP_PKEY_sign(context.get(), out.data(), &size, hash.data(), hash.size()));
  out.resize(size);
  return out;
}

Bytes EcPrivateKey::sign(ByteView message) const { return to_fixed(public_.curve(), sign_der(message)); }

}  // namespace cloister::crypto
