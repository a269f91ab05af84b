#include "cloister/lab_service/page_cipher.hpp"

#include "cloister/codec/cbor.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab_service {
namespace {

crypto::Secret<32> part_of(const crypto::Secret<32>& key, std::string_view use) {
  return crypto::hkdf32({}, key.reveal(), as_bytes(use));
}

Bytes context_of(const PageId& id) {
  codec::cbor::Writer out;
  out.array(4).text("cloister/lab/1/vm page").text(id.vm).uint(id.page).uint(id.version);
  return out.take();
}

Digest32 mac_of(const crypto::Secret<32>& key, const PageId& id, const SealedPage& page) {
  codec::cbor::Writer out;
  out.array(3).encoded(context_of(id)).bytes(page.iv).bytes(page.ciphertext);
  return crypto::hmac_sha256(part_of(key, "mac").reveal(), out.take());
}

}  // namespace

SealedPage seal_page(const crypto::Secret<32>& key, const PageId& id, ByteView contents) {
  const auto context = context_of(id);
  const auto iv = crypto::hmac_sha256(part_of(key, "iv").reveal(), {ByteView{context}, contents});
  SealedPage out{.iv = to_array<12>(ByteView{iv}.first(12)), .ciphertext = {}, .mac = {}};
  out.ciphertext = crypto::aes_gcm_seal(part_of(key, "cipher").reveal(), out.iv, context, contents);
  out.mac = mac_of(key, id, out);
  return out;
}

Result<crypto::SecretBytes> open_page(const crypto::Secret<32>& key, const PageId& id, const SealedPage& page) {
  if (!crypto::equal(mac_of(key, id, page), page.mac)) {
    return Error{Errc::decryption_failed,
                 "page integrity check failed: the MAC does not hold, and nothing was decrypted"};
  }
  return crypto::aes_gcm_open(part_of(key, "cipher").reveal(), page.iv, context_of(id), page.ciphertext);
}

}  // namespace cloister::lab_service
