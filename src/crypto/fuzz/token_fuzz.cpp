// A token that is read encodes to the same text again, and one that verifies was signed over that text.
#include "../src/jws.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/jose.hpp"

using namespace cloister;
namespace jose = crypto::jose;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto key = crypto::Ed25519Key::from_seed(crypto::Secret<32>::copy_of(Bytes(32, 0x11)));
  const auto token = as_text({data, size});
  const auto parsed = jose::parse_jws(token);
  CLOISTER_ASSERT(parsed.ok() == jose::peek(token).ok());
  const auto verified = jose::verify_ed25519(token, key.public_key(), "at+jwt");
  if (!parsed.ok()) {
    CLOISTER_ASSERT(!verified.ok());
    return 0;
  }
  const auto header = parsed->signing_input.substr(0, parsed->signing_input.find('.'));
  const auto text = std::string{header} + "." + codec::to_base64url(parsed->payload) + "." +
                    codec::to_base64url(parsed->signature);
  CLOISTER_ASSERT(text == token);
  if (!verified.ok()) return 0;
  CLOISTER_ASSERT(verified->as_object() != nullptr && parsed->header.type == "at+jwt");
  CLOISTER_ASSERT(same_bytes(key.sign(as_bytes(parsed->signing_input)), parsed->signature));
  return 0;
}
