#include "enclave_sealing.hpp"

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab_service {
namespace {

constexpr crypto::Nonce kIv{};  // a key serves one blob: KEYID is random

/// A name cannot run into another: CBOR has lengths.
Bytes info_of(std::string_view domain, std::string_view name) {
  codec::cbor::Writer out;
  out.array(2).text(domain).text(name);
  return out.take();
}

Error integrity(std::string_view why) {
  return Error{Errc::decryption_failed, "Ciphertext integrity check failed: " + std::string{why}};
}

Result<lab_sgx::Key> seal_key(const lab_sgx::Cpu& cpu, unsigned processor, const lab_sgx::KeyRequest& request) {
  auto key = cpu.egetkey(processor, lab_sgx::encode_key_request(request));
  if (!key.ok()) return Error{Errc::permission_denied, "EGETKEY: " + std::string{to_string(key.code())}};
  return std::move(key).value();
}

lab_sgx::KeyRequest own_request(const lab_sgx::Cpu& cpu, unsigned processor) {
  const auto* own = cpu.identity_on(processor);
  CLOISTER_ASSERT(own != nullptr);  // the processor is inside
  return {.name = lab_sgx::KeyName::seal,
          .policy = lab_sgx::key_policy::kMrEnclave,
          .isv_svn = own->isv_svn,
          .cpu_svn = cpu.cpu_svn(),
          .attribute_mask = {},
          .key_id = {},
          .misc_mask = 0,
          .config_svn = own->config_svn};
}

/// Everything before the ciphertext.
Bytes header_of(lab_sgx::SealedBlob blob) {
  blob.sealed.clear();
  return lab_sgx::encode_sealed(blob);
}

lab_sgx::SealedVersion version_of(std::string_view identity, std::uint64_t value) {
  const auto counter = crypto::sha256(info_of("cloister/lab/1/sealing counter", identity));
  return {.counter = to_array<16>(ByteView{counter}.first(16)), .value = value};
}

crypto::Secret<32> identity_key(const lab_sgx::Key& key, std::string_view identity) {
  return crypto::hkdf32({}, key.reveal(), info_of("cloister/lab/1/sealing identity", identity));
}

}  // namespace

Result<std::string> seal_for(const lab_sgx::Cpu& cpu, unsigned processor, std::string_view identity,
                             std::uint64_t version, ByteView plaintext, Random& random) {
  lab_sgx::SealedBlob blob{
      .request = own_request(cpu, processor), .version = version_of(identity, version), .sealed = {}};
  blob.request.key_id = random.array<32>();
  CLOISTER_TRY(key, seal_key(cpu, processor, blob.request));
  blob.sealed = crypto::aes_gcm_seal(identity_key(key, identity).reveal(), kIv, header_of(blob), plaintext);
  return codec::to_base64url(lab_sgx::encode_sealed(blob));
}

Result<Opened> open_for(const lab_sgx::Cpu& cpu, unsigned processor, std::string_view identity,
                        std::string_view token) {
  while (token.ends_with('=')) token.remove_suffix(1);
  const auto bytes = codec::from_base64url(token);
  if (!bytes) return Error{Errc::malformed, "Token was not valid base64"};
  const auto blob = lab_sgx::parse_sealed(*bytes);
  if (!blob) return integrity(blob.error().detail());
  if (!blob->version || blob->version->counter != version_of(identity, 0).counter)
    return integrity("sealed for another identity");
  const auto key = seal_key(cpu, processor, blob->request);
  if (!key) return integrity(key.error().detail());
  auto opened = crypto::aes_gcm_open(identity_key(*key, identity).reveal(), kIv, header_of(*blob), blob->sealed);
  if (!opened) return integrity("changed, or another enclave's");
  return Opened{std::move(*opened), blob->version->value};
}

Result<crypto::Secret<32>> enclave_key(const lab_sgx::Cpu& cpu, unsigned processor, std::string_view purpose) {
  CLOISTER_TRY(key, seal_key(cpu, processor, own_request(cpu, processor)));
  return crypto::hkdf32({}, key.reveal(), info_of("cloister/lab/1/enclave key", purpose));
}

}  // namespace cloister::lab_service
