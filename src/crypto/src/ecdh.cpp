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

/// Shared and immutable: setting a group up costs more than a multiplication on it.
const EC_GROUP* group_of(DhCurve curve) {
  static const auto p256 = ossl::made(ossl::EcGroupPtr{EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)});
  static const auto p384 = ossl::made(ossl::EcGroupPtr{EC_GROUP_new_by_curve_name(NID_secp384r1)});
  static const auto p521 = ossl::made(ossl::EcGroupPtr{EC_GROUP_new_by_curve_name(NID_secp521r1)});
  switch (curve) {
    case DhCurve::p256: return p256.get();
    case DhCurve::p384: return p384.get();
    case DhCurve::p521: return p521.get();
  }
  return nullptr;
}

/// For intermediate values, some of which are secret.
BN_CTX* arithmetic() {
  thread_local const auto context = ossl::made(ossl::BnCtxPtr{BN_CTX_secure_new()});
  return context.get();
}

/// scalar * point, or times the generator where there is none; in constant time, as the library does it for one scalar.
ossl::EcPointPtr multiply(DhCurve curve, const BIGNUM* scalar, const EC_POINT* point) {
  const auto* group = group_of(curve);
  auto out = ossl::made(ossl::EcPointPtr{EC_POINT_new(group)});
  const auto* of_generator = point == nullptr ? scalar : nullptr;
  const auto* of_point = point == nullptr ? nullptr : scalar;
  ossl::must(EC_POINT_mul(group, out.get(), of_generator, point, of_point, arithmetic()));
  return out;
}

/// The point as SEC 1 writes it, uncompressed.
SecretBytes encoded(DhCurve curve, const EC_POINT* point) {
  SecretBytes out{1 + 2 * coordinate_size(curve)};
  const auto into = out.writable();
  const auto size = EC_POINT_point2oct(group_of(curve), point, POINT_CONVERSION_UNCOMPRESSED, into.data(), into.size(), arithmetic());
  CLOISTER_ASSERT(size == out.size() && into.front() == kUncompressed);
  return out;
}

}  // namespace

struct DhPublicKey::Handle {
  ossl::EcPointPtr point;
};

struct DhPrivateKey::Handle {
  ossl::BnPtr scalar;
};

Result<DhPublicKey> DhPublicKey::from_xy(DhCurve curve, ByteView xy) {
  if (xy.size() != 2 * coordinate_size(curve)) {
    return Error{Errc::key_invalid, std::string{group_name(curve)} + ": " + std::to_string(2 * coordinate_size(curve)) +
                                        " bytes of x and y expected, got " + std::to_string(xy.size())};
  }
  ByteArray<1 + 2 * kWidest> encoded_point{kUncompressed};
  std::ranges::copy(xy, encoded_point.begin() + 1);
  const auto* group = group_of(curve);
  auto point = ossl::made(ossl::EcPointPtr{EC_POINT_new(group)});
  // Refuses coordinates that are not below the prime, and points that are not on the curve.
  if (EC_POINT_oct2point(group, point.get(), encoded_point.data(), 1 + xy.size(), arithmetic()) != 1) {
    return ossl::refused(Errc::key_invalid, std::string{group_name(curve)} + ": the point is not on the curve");
  }
  return DhPublicKey{curve, to_bytes(xy), std::make_shared<const Handle>(Handle{std::move(point)})};
}

DhPrivateKey::DhPrivateKey(std::unique_ptr<const Handle> handle, DhPublicKey pub)
    : handle_{std::move(handle)}, public_{std::move(pub)} {}
DhPrivateKey::DhPrivateKey(DhPrivateKey&&) noexcept = default;
DhPrivateKey& DhPrivateKey::operator=(DhPrivateKey&&) noexcept = default;
DhPrivateKey::~DhPrivateKey() = default;

/// `scalar` is from 1 to the order - 1.
DhPrivateKey DhPrivateKey::make(DhCurve curve, std::unique_ptr<const Handle> handle) {
  auto point = multiply(curve, handle->scalar.get(), nullptr);
  const auto text = encoded(curve, point.get());
  DhPublicKey pub{curve, to_bytes(text.reveal().subspan(1)),
                  std::make_shared<const DhPublicKey::Handle>(DhPublicKey::Handle{std::move(point)})};
  return DhPrivateKey{std::move(handle), std::move(pub)};
}

DhPrivateKey DhPrivateKey::generate(DhCurve curve) {
  auto scalar = ossl::made(ossl::BnPtr{BN_secure_new()});
  do {
    ossl::must(BN_priv_rand_range(scalar.get(), EC_GROUP_get0_order(group_of(curve))));
  } while (BN_is_zero(scalar.get()));
  BN_set_flags(scalar.get(), BN_FLG_CONSTTIME);
  return make(curve, std::make_unique<const Handle>(Handle{std::move(scalar)}));
}

Result<DhPrivateKey> DhPrivateKey::from_scalar(DhCurve curve, const SecretBytes& scalar) {
  const auto size = coordinate_size(curve);
  const auto refused = [curve] {
    return ossl::refused(Errc::key_invalid, std::string{group_name(curve)} + ": a private key below the order expected");
  };
  if (scalar.size() != size) return refused();
  auto number = ossl::made(ossl::BnPtr{BN_bin2bn(scalar.reveal().data(), static_cast<int>(size), BN_secure_new())});
  BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  if (BN_is_zero(number.get()) || BN_cmp(number.get(), EC_GROUP_get0_order(group_of(curve))) >= 0) return refused();
  return make(curve, std::make_unique<const Handle>(Handle{std::move(number)}));
}

Result<SecretBytes> DhPrivateKey::agree(const DhPublicKey& peer) const {
  const auto curve = public_.curve();
  if (peer.curve() != curve) {
    return Error{Errc::key_invalid, std::string{"a key on "} + group_name(curve) + " expected, got one on " +
                                        group_name(peer.curve())};
  }
  // The peer's point was validated when it was read, and the order is prime: the product is not the point at infinity.
  const auto shared = encoded(curve, multiply(curve, handle_->scalar.get(), peer.handle_->point.get()).get());
  return SecretBytes::copy_of(shared.reveal().subspan(1, coordinate_size(curve)));
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
