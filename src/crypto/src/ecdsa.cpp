#include "cloister/crypto/ecdsa.hpp"

#include <array>

#include "cloister/crypto/hash.hpp"
#include "openssl.hpp"

namespace cloister::crypto {
namespace {

const char* group_name(Curve curve) noexcept { return curve == Curve::p256 ? "P-256" : "P-384"; }

Bytes hash_of(Curve curve, ByteView message) {
  return curve == Curve::p256 ? to_bytes(sha256(message)) : to_bytes(sha384(message));
}

ossl::PkeyPtr make_key(int selection, OSSL_PARAM* parameters) {
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr)});
  ossl::must(EVP_PKEY_fromdata_init(context.get()));
  EVP_PKEY* key = nullptr;
  ossl::must(EVP_PKEY_fromdata(context.get(), &key, selection, parameters));
  return ossl::made(ossl::PkeyPtr{key});
}

/// A key of parameters alone. Copying one and setting its point costs a fifth of building a key from parameters.
const EVP_PKEY* parameters_of(Curve curve) {
  static constexpr auto kMake = [](Curve which) {
    std::string name = group_name(which);
    std::array parameters{OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name.data(), 0),
                          OSSL_PARAM_construct_end()};
    return make_key(EVP_PKEY_KEY_PARAMETERS, parameters.data());
  };
  static const auto p256 = kMake(Curve::p256);
  static const auto p384 = kMake(Curve::p384);
  return curve == Curve::p256 ? p256.get() : p384.get();
}

/// 0x04 || x || y (SEC 1, section 2.3.3).
Bytes uncompressed(ByteView xy) {
  Bytes point{0x04};
  append(point, xy);
  return point;
}

void append_der_integer(Bytes& out, ByteView big_endian) {
  const auto* first = std::find_if(big_endian.data(), big_endian.data() + big_endian.size() - 1,
                                   [](std::uint8_t byte) { return byte != 0; });
  const ByteView digits{first, big_endian.data() + big_endian.size()};
  const bool padded = digits.front() >= 0x80;
  out.push_back(0x02);
  out.push_back(static_cast<std::uint8_t>(digits.size() + (padded ? 1 : 0)));
  if (padded) out.push_back(0);
  append(out, digits);
}

/// ECDSA-Sig-Value (RFC 3279 section 2.2.3); at most 104 bytes, so every length is one byte.
Bytes to_der(ByteView signature) {
  Bytes members;
  append_der_integer(members, signature.first(signature.size() / 2));
  append_der_integer(members, signature.last(signature.size() / 2));
  Bytes out{0x30, static_cast<std::uint8_t>(members.size())};
  append(out, members);
  return out;
}

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

}  // namespace

/// Ready to verify: each verification copies the context, because a context serves one thread at a time.
struct EcPublicKey::Handle {
  ossl::PkeyPtr key;
  ossl::PkeyCtxPtr verifier;
};

Result<EcPublicKey> EcPublicKey::from_xy(Curve curve, ByteView xy) {
  if (xy.size() != 2 * field_size(curve)) {
    return Error{Errc::key_invalid, std::string{group_name(curve)} + ": " + std::to_string(2 * field_size(curve)) +
                                        " bytes of x and y expected, got " + std::to_string(xy.size())};
  }
  auto key = ossl::made(ossl::PkeyPtr{EVP_PKEY_dup(const_cast<EVP_PKEY*>(parameters_of(curve)))});  // reads only
  const auto point = uncompressed(xy);
  if (EVP_PKEY_set1_encoded_public_key(key.get(), point.data(), point.size()) != 1) {
    return ossl::refused(Errc::key_invalid, std::string{group_name(curve)} + ": the point is not on the curve");
  }
  auto verifier = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr)});
  ossl::must(EVP_PKEY_verify_init(verifier.get()));
  return EcPublicKey{curve, to_bytes(xy), std::make_shared<const Handle>(Handle{std::move(key), std::move(verifier)})};
}

Result<void> EcPublicKey::verify(ByteView message, ByteView signature) const {
  if (signature.size() != 2 * field_size(curve_)) {
    return Error{Errc::signature_invalid, "ECDSA: r and s of " + std::to_string(2 * field_size(curve_)) +
                                              " bytes expected, got " + std::to_string(signature.size())};
  }
  return verify_der(message, to_der(signature));
}

Result<void> EcPublicKey::verify_der(ByteView message, ByteView der) const {
  const auto hash = hash_of(curve_, message);
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_dup(handle_->verifier.get())});
  // OpenSSL encodes what it read again and compares, so that anything but DER is refused.
  if (EVP_PKEY_verify(context.get(), ossl::data(der), der.size(), hash.data(), hash.size()) != 1) {
    return ossl::refused(Errc::signature_invalid, "ECDSA: the signature is not this key's over these bytes");
  }
  return {};
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
  const auto hash = hash_of(public_.curve(), message);
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
