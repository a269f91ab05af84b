#include "cloister/crypto/aes.hpp"

#include "openssl.hpp"

namespace cloister::crypto {
namespace {

EVP_MAC* cmac() {
  static const auto mac = ossl::made(ossl::MacPtr{EVP_MAC_fetch(nullptr, "CMAC", nullptr)});
  return mac.get();
}

const EVP_CIPHER* key_wrap(std::size_t key_size) {
  static const auto aes128 = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "AES-128-WRAP", nullptr)});
  static const auto aes192 = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "AES-192-WRAP", nullptr)});
  static const auto aes256 = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "AES-256-WRAP", nullptr)});
  CLOISTER_ASSERT(key_size == 16 || key_size == 24 || key_size == 32);
  if (key_size == 16) return aes128.get();
  return key_size == 24 ? aes192.get() : aes256.get();
}

ossl::CipherCtxPtr start_wrap(ByteView key, bool wrap) {
  auto context = ossl::made(ossl::CipherCtxPtr{EVP_CIPHER_CTX_new()});
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  ossl::must(EVP_CipherInit_ex2(context.get(), key_wrap(key.size()), key.data(), nullptr, wrap ? 1 : 0, nullptr));
  return context;
}

constexpr std::size_t kWrapBlock = 8;
constexpr std::size_t kMaxWrapped = 4096;  // keys, not messages

}  // namespace

Secret<16> aes128_cmac(std::span<const std::uint8_t, 16> key, ByteView message) {
  const auto context = ossl::made(ossl::MacCtxPtr{EVP_MAC_CTX_new(cmac())});
  char cipher[] = "AES-128-CBC";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                                   OSSL_PARAM_construct_end()};
  ossl::must(EVP_MAC_init(context.get(), key.data(), key.size(), parameters));
  ossl::must(EVP_MAC_update(context.get(), ossl::data(message), message.size()));
  return Secret<16>::from([&](std::span<std::uint8_t, 16> out) {
    std::size_t written = 0;
    ossl::must(EVP_MAC_final(context.get(), out.data(), &written, out.size()));
    CLOISTER_ASSERT(written == out.size());
  });
}

Bytes aes_key_wrap(ByteView key, ByteView secret) {
  CLOISTER_ASSERT(secret.size() >= 2 * kWrapBlock && secret.size() % kWrapBlock == 0 && secret.size() <= kMaxWrapped);
  const auto context = start_wrap(key, true);
  Bytes out(secret.size() + kWrapBlock);
  int written = 0;
  ossl::must(EVP_CipherUpdate(context.get(), out.data(), &written, secret.data(), static_cast<int>(secret.size())));
  CLOISTER_ASSERT(static_cast<std::size_t>(written) == out.size());
  return out;
}

Result<SecretBytes> aes_key_unwrap(ByteView key, ByteView wrapped) {
  const auto context = start_wrap(key, false);
  const bool sized = wrapped.size() >= 3 * kWrapBlock && wrapped.size() % kWrapBlock == 0 && wrapped.size() <= kMaxWrapped;
  if (!sized) return Error{Errc::decryption_failed, "AES key wrap: no length of a wrapped key"};
  SecretBytes room{wrapped.size()};  // the library writes no more than the key, but may use the rest
  int written = 0;
  const int done = EVP_CipherUpdate(context.get(), room.writable().data(), &written, wrapped.data(), static_cast<int>(wrapped.size()));
  if (done != 1 || static_cast<std::size_t>(written) != wrapped.size() - kWrapBlock) {
    return ossl::refused(Errc::decryption_failed, "AES key wrap: wrong key, or changed on the way");
  }
  return SecretBytes::copy_of(room.reveal().first(wrapped.size() - kWrapBlock));
}

}  // namespace cloister::crypto
