#include "cloister/lab_sgx/sealing.hpp"

#include <string>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/aead.hpp"

namespace cloister::lab_sgx {
namespace {

constexpr ByteArray<8> kMagic{'C', 'L', 'S', 'E', 'A', 'L', 0, 1};
constexpr std::size_t kTag = 16;
constexpr std::size_t kHeaderSize = 8 + kKeyRequestSize + 1 + 16 + 8;
constexpr ByteArray<12> kIv{};  // a key serves one blob

Bytes header_of(const SealedBlob& blob) {
  codec::Writer out;
  out.raw(kMagic);
  out.raw(encode_key_request(blob.request));
  out.u8(blob.version ? 1 : 0);
  const auto version = blob.version.value_or(SealedVersion{});
  out.raw(version.counter);
  out.u64le(version.value);
  return std::move(out).take();
}

Error bad(std::string detail) { return Error{Errc::malformed, "sealed data: " + std::move(detail)}; }

Result<Key> key_for(const Cpu& cpu, unsigned processor, const KeyRequest& request) {
  auto key = cpu.egetkey(processor, encode_key_request(request));
  if (!key.ok()) return Error{Errc::permission_denied, "EGETKEY: " + std::string{to_string(key.code())}};
  return std::move(key).value();
}

Result<void> check_version(const std::optional<SealedVersion>& sealed, const std::optional<SealedVersion>& current) {
  if (sealed == current) return {};
  if (!sealed || !current || sealed->counter != current->counter) {
    return Error{Errc::conflict, "sealed data: not bound to the counter that was given"};
  }
  const auto relation = sealed->value < current->value ? " < " : " > ";
  return Error{Errc::conflict, "sealed data: version " + std::to_string(sealed->value) + relation + "counter " +
                                   std::to_string(current->value)};
}

}  // namespace

Result<SealedBlob> parse_sealed(ByteView blob) {
  if (blob.size() > kMaxSealedSize) return Error{Errc::limit_exceeded, "sealed data: larger than 16 MiB"};
  if (blob.size() < kHeaderSize + kTag) return bad("header and tag expected");
  codec::Reader in{blob};
  if (*in.array<8>() != kMagic) return bad("not its magic number");
  const auto request = parse_key_request(*in.take(kKeyRequestSize));
  if (!request.ok() || request.value().name != KeyName::seal) return bad("a KEYREQUEST of a seal key expected");
  SealedBlob out{.request = request.value(), .version = std::nullopt, .sealed = {}};
  const auto bound = *in.u8();
  const SealedVersion version{.counter = *in.array<16>(), .value = *in.u64le()};
  if (bound > 1 || (bound == 0 && version != SealedVersion{})) return bad("version");
  if (bound == 1) out.version = version;
  out.sealed = to_bytes(in.rest());
  return out;
}

Bytes encode_sealed(const SealedBlob& blob) {
  auto out = header_of(blob);
  append(out, blob.sealed);
  return out;
}

Result<Bytes> seal(const Cpu& cpu, unsigned processor, std::uint16_t policy, ByteView plaintext,
                   const std::optional<SealedVersion>& version, Random& random) {
  if ((policy & (key_policy::kMrEnclave | key_policy::kMrSigner)) == 0) {
    return Error{Errc::invalid_argument, "seal: a policy with MRENCLAVE or MRSIGNER expected"};
  }
  if (plaintext.size() > kMaxSealedSize - kHeaderSize - kTag) return Error{Errc::limit_exceeded, "seal: more than 16 MiB"};
  const auto* identity = cpu.identity_on(processor);
  if (identity == nullptr) return Error{Errc::permission_denied, "EGETKEY: #GP"};
  SealedBlob out;
  out.request = {.name = KeyName::seal, .policy = policy, .isv_svn = identity->isv_svn, .cpu_svn = cpu.cpu_svn(),
                 .attribute_mask = {}, .key_id = random.array<32>(), .misc_mask = 0, .config_svn = identity->config_svn};
  out.version = version;
  CLOISTER_TRY(key, key_for(cpu, processor, out.request));
  out.sealed = crypto::aes_gcm_seal(key.reveal(), kIv, header_of(out), plaintext);
  return encode_sealed(out);
}

Result<crypto::SecretBytes> unseal(const Cpu& cpu, unsigned processor, ByteView blob, const std::optional<SealedVersion>& current) {
  CLOISTER_TRY(parsed, parse_sealed(blob));
  CLOISTER_TRY(key, key_for(cpu, processor, parsed.request));
  CLOISTER_TRY(opened, crypto::aes_gcm_open(key.reveal(), kIv, header_of(parsed), parsed.sealed));
  CLOISTER_CHECK(check_version(parsed.version, current));
  return opened;
}

}  // namespace cloister::lab_sgx
