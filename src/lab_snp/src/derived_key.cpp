#include "derived_key.hpp"

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::string_view kLabel = "cloister/lab/1/SNP key request";
constexpr std::uint32_t kBits = 256;

Bytes encode(const KeyMix& mix) {
  codec::Writer out;
  out.u32le(static_cast<std::uint32_t>(mix.root) | mix.id_key << 1);
  out.u32le(0);
  out.u64le(mix.fields);
  out.u32le(mix.vmpl);
  out.u32le(mix.guest_svn);
  out.raw(mix.tcb);
  out.u64le(mix.policy);
  out.raw(mix.image_id);
  out.raw(mix.family_id);
  out.raw(mix.measurement);
  out.raw(mix.host_data);
  out.raw(mix.id_key_digest);
  out.u64le(mix.mitigations);
  return std::move(out).take();
}

Bytes number(std::uint32_t value) {
  codec::Writer out;
  out.u32le(value);
  return std::move(out).take();
}

}  // namespace

crypto::Secret<32> derive_guest_key(const crypto::Secret<32>& root, const KeyMix& mix) {
  constexpr ByteArray<1> kSeparator{};
  return crypto::Secret<32>{
      crypto::hmac_sha256(root.reveal(), {number(1), as_bytes(kLabel), kSeparator, encode(mix), number(kBits)})};
}

}  // namespace cloister::lab_snp
