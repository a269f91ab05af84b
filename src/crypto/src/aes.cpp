#include "cloister/crypto/aes.hpp"

#include "openssl.hpp"

namespace cloister::crypto {
namespace {

EVP_MAC* cmac() {
  static const auto mac = ossl::made(ossl::MacPtr{EVP_MAC_fetch(nullptr, "CMAC", nullptr)});
  return mac.get();
}

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

}  // namespace cloister::crypto
