#include "cloister/lab_snp/id_block.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::uint32_t kCurveP384 = 2;
constexpr std::size_t kNumber = 72;  // as the ABI stores coordinates, r and s
constexpr std::size_t kField = 48;

/// A big-endian number of P-384's size, as the ABI stores it.
void put_number(codec::Writer& out, ByteView big_endian) {
  Bytes little(big_endian.rbegin(), big_endian.rend());
  little.resize(kNumber);
  out.raw(little);
}

/// Back again; nothing for a number that is larger.
std::optional<Bytes> take_number(codec::Reader& in) {
  const auto stored = in.take(kNumber).value();
  if (!all_zero(stored.subspan(kField))) return std::nullopt;
  const auto used = stored.first(kField);
  return Bytes(used.rbegin(), used.rend());
}

std::optional<Bytes> take_pair(codec::Reader& in) {
  auto first = take_number(in);
  const auto second = take_number(in);
  if (!first || !second) return std::nullopt;
  append(*first, *second);
  return first;
}

ByteArray<512> encode_signature(ByteView signature) {
  codec::Writer out;
  put_number(out, signature.first(kField));
  put_number(out, signature.last(kField));
  out.zeros(512 - out.size());
  return to_array<512>(out.bytes());
}

}  // namespace

ByteArray<kIdBlockSize> encode_id_block(const IdBlock& block) {
  codec::Writer out;
  out.raw(block.launch_digest);
  out.raw(block.family_id);
  out.raw(block.image_id);
  out.u32le(block.version);
  out.u32le(block.guest_svn);
  out.u64le(block.policy);
  return to_array<kIdBlockSize>(out.bytes());
}

IdBlock parse_id_block(std::span<const std::uint8_t, kIdBlockSize> bytes) {
  codec::Reader in{bytes};
  IdBlock out;
  out.launch_digest = in.array<48>().value();
  out.family_id = in.array<16>().value();
  out.image_id = in.array<16>().value();
  out.version = in.u32le().value();
  out.guest_svn = in.u32le().value();
  out.policy = in.u64le().value();
  return out;
}

ByteArray<kIdAuthSize> encode_id_auth(const IdAuth& auth) {
  codec::Writer out;
  const auto at = [&out](std::size_t offset) { out.zeros(offset - out.size()); };
  out.u32le(auth.id_key_algorithm);
  out.u32le(auth.author_key_algorithm);
  at(0x40);
  out.raw(auth.block_signature);
  out.raw(auth.id_key);
  at(0x680);
  out.raw(auth.id_key_signature);
  out.raw(auth.author_key);
  at(kIdAuthSize);
  return to_array<kIdAuthSize>(out.bytes());
}

IdAuth parse_id_auth(std::span<const std::uint8_t, kIdAuthSize> bytes) {
  const ByteView all{bytes};
  codec::Reader algorithms{all};
  IdAuth out;
  out.id_key_algorithm = algorithms.u32le().value();
  out.author_key_algorithm = algorithms.u32le().value();
  out.block_signature = to_array<512>(all.subspan(0x40, 512));
  out.id_key = to_array<kIdPublicKeySize>(all.subspan(0x240, kIdPublicKeySize));
  out.id_key_signature = to_array<512>(all.subspan(0x680, 512));
  out.author_key = to_array<kIdPublicKeySize>(all.subspan(0x880, kIdPublicKeySize));
  return out;
}

IdAuth sign_id_block(const IdBlock& block, const crypto::EcPrivateKey& id_key, const crypto::EcPrivateKey* author_key) {
  IdAuth out;
  out.block_signature = encode_signature(id_key.sign(encode_id_block(block)));
  out.id_key = encode_id_public_key(id_key.public_key());
  if (author_key == nullptr) return out;
  out.author_key_algorithm = kEcdsaP384Sha384;
  out.id_key_signature = encode_signature(author_key->sign(out.id_key));
  out.author_key = encode_id_public_key(author_key->public_key());
  return out;
}

ByteArray<kIdPublicKeySize> encode_id_public_key(const crypto::EcPublicKey& key) {
  CLOISTER_ASSERT(key.curve() == crypto::Curve::p384);
  codec::Writer out;
  out.u32le(kCurveP384);
  put_number(out, ByteView{key.xy()}.first(kField));
  put_number(out, ByteView{key.xy()}.last(kField));
  out.zeros(kIdPublicKeySize - out.size());
  return to_array<kIdPublicKeySize>(out.bytes());
}

Result<crypto::EcPublicKey> parse_id_public_key(std::span<const std::uint8_t, kIdPublicKeySize> bytes) {
  codec::Reader in{bytes};
  if (in.u32le().value() != kCurveP384) return Error{Errc::key_invalid, "ID key: curve 2 (P-384) expected"};
  const auto xy = take_pair(in);
  if (!xy) return Error{Errc::key_invalid, "ID key: coordinates of 48 bytes expected"};
  return crypto::EcPublicKey::from_xy(crypto::Curve::p384, *xy);
}

Result<void> verify_id_signature(const crypto::EcPublicKey& key, ByteView message, std::span<const std::uint8_t, 512> signature) {
  codec::Reader in{signature};
  const auto pair = take_pair(in);
  if (!pair || !all_zero(in.rest())) return Error{Errc::signature_invalid, "ID block: r and s of 48 bytes expected"};
  return key.verify(message, *pair);
}

}  // namespace cloister::lab_snp
