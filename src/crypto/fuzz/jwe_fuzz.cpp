// A message that is read is written as one that is read alike, opens with no key that it was not sealed to, and a key that
// is read is written as one that is read alike.
#include "cloister/crypto/jwe.hpp"

using namespace cloister;
namespace jose = crypto::jose;
namespace json = codec::json;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const jose::DecryptionKey kKey{crypto::DhPrivateKey::generate(crypto::DhCurve::p256)};
  const auto text = as_text({data, size});
  if (const auto message = jose::parse_jwe(text)) {
    const auto again = jose::parse_jwe(jose::write(*message));
    CLOISTER_ASSERT(again.ok() && again->protected_header == message->protected_header &&
                    again->encrypted_key == message->encrypted_key && again->iv == message->iv &&
                    again->ciphertext == message->ciphertext && again->tag == message->tag);
    CLOISTER_ASSERT(!jose::decrypt(*message, kKey).ok());
  }
  const auto value = json::parse(text, {.bytes = 1U << 16, .depth = 8, .values = 1000});
  if (!value) return 0;
  if (const auto key = jose::EncryptionKey::parse(*value)) {
    const auto again = jose::EncryptionKey::parse(key->to_json());
    CLOISTER_ASSERT(again.ok() && again->to_json() == key->to_json());
  }
  return 0;
}
