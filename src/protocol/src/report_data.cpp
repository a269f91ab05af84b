#include "cloister/protocol/report_data.hpp"

#include <algorithm>

#include "cbor_util.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::protocol {
namespace {

constexpr std::string_view kDomain = "cloister/rd/1";
constexpr std::size_t kMaxKeys = 8;
constexpr std::size_t kMaxKeySize = 1024;

bool sorted_by_use(const std::vector<BoundKey>& keys) {
  return std::ranges::adjacent_find(keys, [](const BoundKey& a, const BoundKey& b) { return !(a.use < b.use); }) ==
         keys.end();
}

/// What each role binds: an instance its id, payload and result key; a validator's TD its hotkey and no keys.
Result<void> check_role(const Preimage& preimage) {
  if (preimage.role == Role::instance) {
    const bool keys = preimage.keys.size() == 2 && preimage.key(kPayloadUse, "x25519") && preimage.key(kResultUse, "ed25519");
    if (!preimage.instance || preimage.hotkey || !keys) {
      return Error{Errc::malformed, "an instance binds its id, a payload key and a result key, and no hotkey"};
    }
  } else if (preimage.instance || !preimage.hotkey || !preimage.keys.empty()) {
    return Error{Errc::malformed, "a validator's TD binds its hotkey, and nothing else"};
  }
  return {};
}

}  // namespace

std::optional<ByteArray<32>> Preimage::key(std::string_view use, std::string_view algorithm) const {
  for (const auto& bound : keys) {
    if (bound.use == use && bound.algorithm == algorithm && bound.public_key.size() == 32) {
      return to_array<32>(bound.public_key);
    }
  }
  return std::nullopt;
}

Bytes encode(const Preimage& preimage) {
  CLOISTER_ASSERT(sorted_by_use(preimage.keys));
  codec::cbor::Writer out;
  out.array(9).text(kDomain).text(to_string(preimage.role)).bytes(preimage.server_key_id).bytes(preimage.nonce);
  out.bytes(preimage.handshake_hash);
  if (preimage.instance) out.text(preimage.instance->str());
  else out.null();
  detail::optional_bytes(out, preimage.hotkey);
  detail::optional_bytes(out, preimage.init_data_digest);
  out.array(preimage.keys.size());
  for (const auto& key : preimage.keys) out.array(3).text(key.use).text(key.algorithm).bytes(key.public_key);
  return std::move(out).take();
}

Result<Preimage> decode_preimage(ByteView bytes) {
  codec::cbor::Reader in{bytes};
  Preimage preimage;
  in.array(9);
  in.domain(kDomain);
  const auto role = in.text();
  if (role == to_string(Role::validator)) preimage.role = Role::validator;
  else if (role != to_string(Role::instance)) in.fail(Errc::unsupported, "role 'instance' or 'validator' expected");
  preimage.server_key_id = in.bytes<32>();
  preimage.nonce = in.bytes<32>();
  preimage.handshake_hash = in.bytes<32>();
  preimage.instance = detail::optional_id<InstanceId>(in);
  preimage.hotkey = detail::optional_bytes<32>(in);
  preimage.init_data_digest = detail::optional_bytes<32>(in);
  const auto count = in.array_up_to(kMaxKeys);
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    in.array(3);
    BoundKey key;
    key.use = detail::short_text(in, 32);
    key.algorithm = detail::short_text(in, 32);
    const auto value = in.bytes();
    if (value.size() > kMaxKeySize) in.fail(Errc::limit_exceeded, "a bound key of at most 1024 bytes expected");
    key.public_key = to_bytes(value);
    preimage.keys.push_back(std::move(key));
  }
  CLOISTER_CHECK(in.finish());
  if (!sorted_by_use(preimage.keys)) return Error{Errc::not_canonical, "bound keys are sorted by use, each use once"};
  CLOISTER_CHECK(check_role(preimage));
  return preimage;
}

Digest64 report_data(ByteView encoded_preimage) { return crypto::sha512(encoded_preimage); }

Digest32 server_key_id(const ByteArray<32>& static_key) { return crypto::sha256(static_key); }

Bytes channel_prologue(Role role) {
  codec::cbor::Writer out;
  out.array(2).text("cloister/channel/1").text(to_string(role));
  return std::move(out).take();
}

}  // namespace cloister::protocol
