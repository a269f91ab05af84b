#pragma once

#include <cstdint>
#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/ecdsa.hpp"

/// What the owner of a guest signs for its launch (AMD 56860, section 8.18 SNP_LAUNCH_FINISH, Tables 75 "ID block" and 76 "ID
/// authentication information").
namespace cloister::lab_snp {

inline constexpr std::size_t kIdBlockSize = 96;
inline constexpr std::size_t kIdAuthSize = 4096;
inline constexpr std::size_t kIdPublicKeySize = 0x404;
inline constexpr std::uint32_t kIdBlockVersion = 1;
inline constexpr std::uint32_t kEcdsaP384Sha384 = 1;  // ID_KEY_ALGO, AUTH_KEY_ALGO

struct IdBlock {
  Digest48 launch_digest{};
  ByteArray<16> family_id{};
  ByteArray<16> image_id{};
  std::uint32_t version = kIdBlockVersion;
  std::uint32_t guest_svn = 0;
  std::uint64_t policy = 0;
  friend bool operator==(const IdBlock&, const IdBlock&) = default;
};
[[nodiscard]] ByteArray<kIdBlockSize> encode_id_block(const IdBlock& block);
[[nodiscard]] IdBlock parse_id_block(std::span<const std::uint8_t, kIdBlockSize> bytes);

/// ID_KEY_ALGO 0, AUTH_KEY_ALGO 4, ID_BLOCK_SIG 0x40, ID_KEY 0x240, ID_KEY_SIG 0x680, AUTHOR_KEY 0x880.
struct IdAuth {
  std::uint32_t id_key_algorithm = kEcdsaP384Sha384;
  std::uint32_t author_key_algorithm = 0;
  ByteArray<512> block_signature{};
  ByteArray<kIdPublicKeySize> id_key{};
  ByteArray<512> id_key_signature{};
  ByteArray<kIdPublicKeySize> author_key{};
};
[[nodiscard]] ByteArray<kIdAuthSize> encode_id_auth(const IdAuth& auth);
[[nodiscard]] IdAuth parse_id_auth(std::span<const std::uint8_t, kIdAuthSize> bytes);

/// The block signed by `id_key`, and that key by `author_key` where there is one.
[[nodiscard]] IdAuth sign_id_block(const IdBlock& block, const crypto::EcPrivateKey& id_key, const crypto::EcPrivateKey* author_key = nullptr);

/// Curve (u32, 2: P-384), x and y (72 bytes each, little-endian), zeros. A report names a key by SHA-384 of these bytes.
[[nodiscard]] ByteArray<kIdPublicKeySize> encode_id_public_key(const crypto::EcPublicKey& key);
/// `key_invalid` for another curve, and for coordinates that are no point on it.
[[nodiscard]] Result<crypto::EcPublicKey> parse_id_public_key(std::span<const std::uint8_t, kIdPublicKeySize> bytes);
/// `signature_invalid` unless `signature` (r and s, 72 bytes each, little-endian, zeros) is the key's over `message`.
[[nodiscard]] Result<void> verify_id_signature(const crypto::EcPublicKey& key, ByteView message, std::span<const std::uint8_t, 512> signature);

}  // namespace cloister::lab_snp
