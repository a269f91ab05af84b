#include "cloister/crypto/ecdh.hpp"

#include <array>

#include "cloister/crypto/hash.hpp"
#include "openssl.hpp"

namespace cloister::crypto {
namespace {

constexpr std::size_t kWidest = 66;
constexpr std::uint8_t kUncompressed = 0x04;  // SEC 1, section 2.3.3

const char* group_name(DhCurve curve) noexcept {
  switch (curve) {
    case DhCurve::p256: return "P-256";
    case DhCurve::p384: return "P-384";
    case DhCurve::p521: return "P-521";
  }
  return "";
}

int group_number(DhCurve curve) noexcept {
  switch (curve) {
    case DhCurve::p256: return NID_X9_62_prime256v1;
    case DhCurve::p384: return NID_secp384r1;
    case DhCurve::p521: return NID_secp521r1;
  }
  return NID_undef;
}

/// Null when the library refuses what is in it: it checks that a point is on the curve.
ossl::PkeyPtr make_key(int selection, OSSL_PARAM* parameters) {
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr)});
  ossl::must(EVP_PKEY_fromdata_init(context.get()));
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata(context.get(), &key, selection, parameters) != 1) {
    ERR_clear_error();
    return nullptr;
  }
  return ossl::PkeyPtr{key};
}

/// A key of which only the curve matters: setting one up anew costs more than a key on it.
EVP_PKEY* curve_template(DhCurve curve) {
  static const auto p256 = ossl::made(ossl::PkeyPtr{EVP_EC_gen(group_name(DhCurve::p256))});
  static const auto p384 = ossl::made(ossl::PkeyPtr{EVP_EC_gen(group_name(DhCurve::p384))});
  static const auto p521 = ossl::made(ossl::PkeyPtr{EVP_EC_gen(group_name(DhCurve::p521))});
  switch (curve) {
    case DhCurve::p256: return p256.get();
    case DhCurve::p384: return p384.get();
    case DhCurve::p521: return p521.get();
  }
  return nullptr;
}

ossl::PkeyPtr fresh_key(DhCurve curve) {
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, curve_template(curve), nullptr)});
  ossl::must(EVP_PKEY_keygen_init(context.get()));
  EVP_PKEY* key = nullptr;
  ossl::must(EVP_PKEY_generate(context.get(), &key));
  return ossl::made(ossl::PkeyPtr{key});
}

Bytes point_of(const EVP_PKEY* key, DhCurve curve) {
  Bytes point(1 + 2 * coordinate_size(curve));
  std::size_t size = 0;
  ossl::must(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size));
  CLOISTER_ASSERT(size == point.size() && point.front() == kUncompressed);
  return to_bytes(ByteView{point}.subspan(1));
}

}  // namespace

struct DhPublicKey::Handle {
  ossl::PkeyPtr key;
};

Result<DhPublicKey> DhPublicKey::from_xy(DhCurve curve, ByteView xy) {
  if (xy.size() != 2 * coordinate_size(curve)) {
    return Error{Errc::key_invalid, std::string{group_name(curve)} + ": " + std::to_string(2 * coordinate_size(curve)) +
                                        " bytes of x and y expected, got " + std::to_string(xy.size())};
  }
  ByteArray<1 + 2 * kWidest> point{kUncompressed};
  std::ranges::copy(xy, point.begin() + 1);
  std::string name = group_name(curve);
  std::array parameters{OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name.data(), 0),
                        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), 1 + xy.size()),
                        OSSL_PARAM_construct_end()};
  auto key = make_key(EVP_PKEY_PUBLIC_KEY, parameters.data());
  if (!key) return Error{Errc::key_invalid, name + ": the point is not on the curve"};
  return DhPublicKey{curve, to_bytes(xy), std::make_shared<const Handle>(Handle{std::move(key)})};
}

DhPrivateKey::DhPrivateKey(DhPrivateKey&&) noexcept = default;
DhPrivateKey& DhPrivateKey::operator=(DhPrivateKey&&) noexcept = default;
DhPrivateKey::~DhPrivateKey() = default;

DhPrivateKey DhPrivateKey::generate(DhCurve curve) {
  auto key = fresh_key(curve);
  auto xy = point_of(key.get(), curve);
  using Handle = DhPublicKey::Handle;
  return DhPrivateKey{DhPublicKey{curve, std::move(xy), std::make_shared<const Handle>(Handle{std::move(key)})}};
}

Result<DhPrivateKey> DhPrivateKey::from_scalar(DhCurve curve, const SecretBytes& scalar) {
  const auto size = coordinate_size(curve);
  const auto refused = [curve] {
    return ossl::refused(Errc::key_invalid, std::string{group_name(curve)} + ": a private key below the order expected");
  };
  if (scalar.size() != size) return refused();
  const auto group = ossl::made(ossl::EcGroupPtr{EC_GROUP_new_by_curve_name(group_number(curve))});
  const auto arithmetic = ossl::made(ossl::BnCtxPtr{BN_CTX_secure_new()});
  const auto number = ossl::made(ossl::BnPtr{BN_bin2bn(scalar.reveal().data(), static_cast<int>(size), BN_secure_new())});
  BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  if (BN_is_zero(number.get()) || BN_cmp(number.get(), EC_GROUP_get0_order(group.get())) >= 0) return refused();
  const auto product = ossl::made(ossl::EcPointPtr{EC_POINT_new(group.get())});
  ossl::must(EC_POINT_mul(group.get(), product.get(), number.get(), nullptr, nullptr, arithmetic.get()));
  Bytes point(1 + 2 * size);
  CLOISTER_ASSERT(EC_POINT_point2oct(group.get(), product.get(), POINT_CONVERSION_UNCOMPRESSED, point.data(), point.size(),
                                     arithmetic.get()) == point.size());
  SecretBytes native{size};
  CLOISTER_ASSERT(BN_bn2nativepad(number.get(), native.writable().data(), static_cast<int>(size)) == static_cast<int>(size));
  std::string name = group_name(curve);
  std::array parameters{OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name.data(), 0),
                        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
                        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native.writable().data(), size),
                        OSSL_PARAM_construct_end()};
  auto key = make_key(EVP_PKEY_KEYPAIR, parameters.data());
  if (!key) return refused();
  using Handle = DhPublicKey::Handle;
  return DhPrivateKey{DhPublicKey{curve, to_bytes(ByteView{point}.subspan(1)),
                                  std::make_shared<const Handle>(Handle{std::move(key)})}};
}

Result<SecretBytes> DhPrivateKey::agree(const DhPublicKey& peer) const {
  if (peer.curve() != public_.curve()) {
    return Error{Errc::key_invalid, std::string{"a key on "} + group_name(public_.curve()) + " expected, got one on " +
                                        group_name(peer.curve())};
  }
  const auto context = ossl::made(ossl::PkeyCtxPtr{EVP_PKEY_CTX_new_from_pkey(nullptr, public_.handle_->key.get(), nullptr)});
  ossl::must(EVP_PKEY_derive_init(context.get()));
  // The point was validated when it was read.
  ossl::must(EVP_PKEY_derive_set_peer_ex(context.get(), peer.handle_->key.get(), 0));
  SecretBytes out{coordinate_size(public_.curve())};
  std::size_t size = out.size();
  if (EVP_PKEY_derive(context.get(), out.writable().data(), &size) != 1 || size != out.size()) {
    return ossl::refused(Errc::key_invalid, "ECDH: the keys have no shared secret");
  }
  return out;
}

SecretBytes concat_kdf(const SecretBytes& shared, ByteView other_info, std::size_t length) {
  CLOISTER_ASSERT(length <= 1U << 16U);
  SecretBytes out{length};
  auto rest = out.writable();
  for (std::uint32_t round = 1; !rest.empty(); ++round) {
    const ByteArray<4> counter{static_cast<std::uint8_t>(round >> 24U), static_cast<std::uint8_t>(round >> 16U),
                               static_cast<std::uint8_t>(round >> 8U), static_cast<std::uint8_t>(round)};
    auto digest = sha256({counter, shared.reveal(), other_info});
    const auto piece = std::min(rest.size(), digest.size());
    std::ranges::copy(ByteView{digest}.first(piece), rest.begin());
    cleanse(digest);
    rest = rest.subspan(piece);
  }
  return out;
}

}  // namespace cloister::crypto
