#include "cloister/crypto/hpke.hpp"

#include <algorithm>

#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::crypto {
namespace {

// RFC 9180 section 7: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, ChaCha20Poly1305 0x0003.
constexpr ByteArray<5> kKemSuite{'K', 'E', 'M', 0x00, 0x20};
constexpr ByteArray<10> kHpkeSuite{'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x03};
constexpr std::uint8_t kModeBase = 0x00;

SecretBytes labeled_input(ByteView suite, std::string_view label, ByteView input_key) {
  Bytes head = to_bytes("HPKE-v1");
  append(head, suite);
  append(head, as_bytes(label));
  SecretBytes out{head.size() + input_key.size()};
  const auto body = std::ranges::copy(head, out.writable().begin()).out;
  std::ranges::copy(input_key, body);
  return out;
}

/// LabeledExtract (section 4).
Secret<32> labeled_extract(ByteView suite, ByteView salt, std::string_view label, ByteView input_key) {
  return hkdf_extract(salt, labeled_input(suite, label, input_key).reveal());
}

/// LabeledExpand (section 4).
SecretBytes labeled_expand(ByteView suite, const Secret<32>& key, std::string_view label, ByteView info,
                           std::size_t length) {
  Bytes labeled{static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
  append(labeled, as_bytes("HPKE-v1"));
  append(labeled, suite);
  append(labeled, as_bytes(label));
  append(labeled, info);
  return hkdf_expand(key.reveal(), labeled, length);
}

/// ExtractAndExpand of DHKEM (section 4.1).
Secret<32> shared_secret(const Secret<32>& agreed, const X25519Public& enc, const X25519Public& recipient) {
  Bytes context = to_bytes(enc);
  append(context, recipient);
  const auto key = labeled_extract(kKemSuite, {}, "eae_prk", agreed.reveal());
  return Secret<32>::copy_of(labeled_expand(kKemSuite, key, "shared_secret", context, 32).reveal());
}

struct Schedule {
  SecretBytes key;
  Nonce base_nonce;  // of the first message, whose sequence number is 0: no mask
};

/// KeySchedule in base mode (section 5.1).
Schedule schedule(const Secret<32>& shared, ByteView info) {
  Bytes context{kModeBase};
  append(context, labeled_extract(kHpkeSuite, {}, "psk_id_hash", {}).reveal());
  append(context, labeled_extract(kHpkeSuite, {}, "info_hash", info).reveal());
  const auto secret = labeled_extract(kHpkeSuite, shared.reveal(), "secret", {});
  auto key = labeled_expand(kHpkeSuite, secret, "key", context, 32);
  const auto nonce = labeled_expand(kHpkeSuite, secret, "base_nonce", context, sizeof(Nonce));
  return {std::move(key), to_array<sizeof(Nonce)>(nonce.reveal())};
}

}  // namespace

Result<HpkeSealed> hpke_seal(const X25519Public& recipient, ByteView info, ByteView associated, ByteView plaintext,
                             Random& random) {
  const auto ephemeral = X25519Key::generate(random);
  CLOISTER_TRY(agreed, ephemeral.agree(recipient));
  const auto keys = schedule(shared_secret(agreed, ephemeral.public_key(), recipient), info);
  return HpkeSealed{ephemeral.public_key(),
                    chacha20poly1305_seal(keys.key.reveal(), keys.base_nonce, associated, plaintext)};
}

Result<SecretBytes> hpke_open(const X25519Key& recipient, const X25519Public& enc, ByteView info, ByteView associated,
                              ByteView ciphertext) {
  CLOISTER_TRY(agreed, recipient.agree(enc));
  const auto keys = schedule(shared_secret(agreed, enc, recipient.public_key()), info);
  return chacha20poly1305_open(keys.key.reveal(), keys.base_nonce, associated, ciphertext);
}

}  // namespace cloister::crypto
