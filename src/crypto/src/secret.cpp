#include "cloister/crypto/secret.hpp"

#include <openssl/crypto.h>

#include <algorithm>

namespace cloister::crypto {

void cleanse(std::span<std::uint8_t> memory) noexcept { OPENSSL_cleanse(memory.data(), memory.size()); }

bool equal(ByteView a, ByteView b) noexcept {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

SecretBytes SecretBytes::copy_of(ByteView view) {
  SecretBytes out{view.size()};
  std::ranges::copy(view, out.bytes_.begin());
  return out;
}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    cleanse(bytes_);
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}

}  // namespace cloister::crypto
