#include "cloister/crypto/aead.hpp"

#include "openssl.hpp"

namespace cloister::crypto {
namespace {

enum class Direction { open = 0, seal = 1 };

const EVP_CIPHER* chacha20poly1305() {
  static const auto cipher = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr)});
  return cipher.get();
}

const EVP_CIPHER* aes_gcm(std::size_t key_size) {
  static const auto aes128 = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr)});
  static const auto aes256 = ossl::made(ossl::CipherPtr{EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr)});
  return key_size == 16 ? aes128.get() : aes256.get();
}

ossl::CipherCtxPtr start(const EVP_CIPHER* algorithm, ByteView key, const Nonce& nonce, Direction direction) {
  CLOISTER_ASSERT(static_cast<int>(key.size()) == EVP_CIPHER_get_key_length(algorithm));
  auto context = ossl::made(ossl::CipherCtxPtr{EVP_CIPHER_CTX_new()});
  ossl::must(EVP_CipherInit_ex2(context.get(), algorithm, key.data(), nonce.data(), static_cast<int>(direction),
                                nullptr));
  return context;
}

/// OpenSSL counts in int, so long inputs go in pieces.
constexpr std::size_t kPiece = 1U << 30;

void associate(EVP_CIPHER_CTX* context, ByteView associated) {
  while (!associated.empty()) {
    const auto piece = associated.first(std::min(associated.size(), kPiece));
    int written = 0;
    ossl::must(EVP_CipherUpdate(context, nullptr, &written, piece.data(), static_cast<int>(piece.size())));
    associated = associated.subspan(piece.size());
  }
}

void transform(EVP_CIPHER_CTX* context, ByteView in, std::span<std::uint8_t> out) {
  CLOISTER_ASSERT(in.size() == out.size());
  while (!in.empty()) {
    const auto piece = in.first(std::min(in.size(), kPiece));
    int written = 0;
    ossl::must(EVP_CipherUpdate(context, out.data(), &written, piece.data(), static_cast<int>(piece.size())));
    CLOISTER_ASSERT(static_cast<std::size_t>(written) == piece.size());
    in = in.subspan(piece.size());
    out = out.subspan(piece.size());
  }
}

/// 1 when the stream ended well; for opening that means that the tag holds.
int finish(EVP_CIPHER_CTX* context) {
  std::uint8_t none = 0;
  int written = 0;
  return EVP_CipherFinal_ex(context, &none, &written);
}

Bytes seal(const EVP_CIPHER* algorithm, ByteView key, const Nonce& nonce, ByteView associated, ByteView plaintext) {
  const auto context = start(algorithm, key, nonce, Direction::seal);
  Bytes out(plaintext.size() + kTagSize);
  associate(context.get(), associated);
  transform(context.get(), plaintext, std::span{out}.first(plaintext.size()));
  ossl::must(finish(context.get()));
  const auto tag = std::span{out}.last(kTagSize);
  ossl::must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, tag.data()));
  return out;
}

Result<SecretBytes> open(const EVP_CIPHER* algorithm, ByteView key, const Nonce& nonce, ByteView associated,
                         ByteView ciphertext) {
  if (ciphertext.size() < kTagSize) {
    return Error{Errc::decryption_failed,
                 "a tag of 16 bytes expected, got " + std::to_string(ciphertext.size()) + " bytes in all"};
  }
  const auto context = start(algorithm, key, nonce, Direction::open);
  auto tag = to_array<kTagSize>(ciphertext.last(kTagSize));
  ossl::must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()));
  SecretBytes out{ciphertext.size() - kTagSize};
  associate(context.get(), associated);
  transform(context.get(), ciphertext.first(out.size()), out.writable());
  if (finish(context.get()) != 1) {
    return ossl::refused(Errc::decryption_failed, "the tag does not match: wrong key, or changed on the way");
  }
  return out;
}

}  // namespace

Bytes chacha20poly1305_seal(ByteView key32, const Nonce& nonce, ByteView associated, ByteView plaintext) {
  return seal(chacha20poly1305(), key32, nonce, associated, plaintext);
}
Result<SecretBytes> chacha20poly1305_open(ByteView key32, const Nonce& nonce, ByteView associated, ByteView ciphertext) {
  return open(chacha20poly1305(), key32, nonce, associated, ciphertext);
}
Bytes aes_gcm_seal(ByteView key, const Nonce& nonce, ByteView associated, ByteView plaintext) {
  return seal(aes_gcm(key.size()), key, nonce, associated, plaintext);
}
Result<SecretBytes> aes_gcm_open(ByteView key, const Nonce& nonce, ByteView associated, ByteView ciphertext) {
  return open(aes_gcm(key.size()), key, nonce, associated, ciphertext);
}

}  // namespace cloister::crypto
