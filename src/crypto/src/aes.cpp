#include "cloister/crypto/aes.hpp"

#include "openssl.hpp"

namespace cloister::crypto {
namespace {

using Key = std::span<const std::uint8_t, 16>;

constexpr std::size_t kTag = 16;
constexpr std::size_t kMaxMessage = 1U << 30;  // OpenSSL counts in int

EVP_MAC* cmac() {
  static const auto mac = ossl::made(ossl::MacPtr{EVP_MAC_fetch(nullptr, "CMAC", nullptr)});
  return mac.get();
}

const EVP_CIPHER* gcm() {
  static const auto cipher = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr)});
  return cipher.get();
}

enum class Direction { open = 0, seal = 1 };

ossl::CipherCtxPtr start(Key key, const ByteArray<12>& iv, ByteView associated, Direction direction) {
  CLOISTER_ASSERT(associated.size() <= kMaxMessage);
  auto context = ossl::made(ossl::CipherCtxPtr{EVP_CIPHER_CTX_new()});
  ossl::must(EVP_CipherInit_ex2(context.get(), gcm(), key.data(), iv.data(), static_cast<int>(direction), nullptr));
  int written = 0;
  if (!associated.empty()) {
    ossl::must(EVP_CipherUpdate(context.get(), nullptr, &written, associated.data(), static_cast<int>(associated.size())));
  }
  return context;
}

void transform(EVP_CIPHER_CTX* context, ByteView in, std::span<std::uint8_t> out) {
  CLOISTER_ASSERT(in.size() == out.size() && in.size() <= kMaxMessage);
  if (in.empty()) return;
  int written = 0;
  ossl::must(EVP_CipherUpdate(context, out.data(), &written, in.data(), static_cast<int>(in.size())));
  CLOISTER_ASSERT(static_cast<std::size_t>(written) == in.size());
}

int finish(EVP_CIPHER_CTX* context) {
  std::uint8_t none = 0;
  int written = 0;
  return EVP_CipherFinal_ex(context, &none, &written);
}

}  // namespace

Secret<16> aes128_cmac(Key key, ByteView message) {
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

Bytes aes128_gcm_seal(Key key, const ByteArray<12>& iv, ByteView associated, ByteView plaintext) {
  const auto context = start(key, iv, associated, Direction::seal);
  Bytes out(plaintext.size() + kTag);
  transform(context.get(), plaintext, std::span{out}.first(plaintext.size()));
  ossl::must(finish(context.get()));
  ossl::must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTag, std::span{out}.last(kTag).data()));
  return out;
}

Result<SecretBytes> aes128_gcm_open(Key key, const ByteArray<12>& iv, ByteView associated, ByteView ciphertext) {
  if (ciphertext.size() < kTag) {
    return Error{Errc::decryption_failed, "a tag of 16 bytes expected, got " + std::to_string(ciphertext.size()) + " bytes in all"};
  }
  const auto context = start(key, iv, associated, Direction::open);
  auto tag = to_array<kTag>(ciphertext.last(kTag));
  ossl::must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()));
  SecretBytes out{ciphertext.size() - kTag};
  transform(context.get(), ciphertext.first(out.size()), out.writable());
  if (finish(context.get()) != 1) {
    return ossl::refused(Errc::decryption_failed, "the tag does not match: wrong key, or changed on the way");
  }
  return out;
}

}  // namespace cloister::crypto
