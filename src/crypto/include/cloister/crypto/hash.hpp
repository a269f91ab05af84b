#pragma once

#include <initializer_list>
#include <memory>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

namespace cloister::crypto {

[[nodiscard]] Digest32 sha256(ByteView data);
[[nodiscard]] Digest48 sha384(ByteView data);
[[nodiscard]] Digest64 sha512(ByteView data);
/// Over the parts one after the other, as if concatenated.
[[nodiscard]] Digest32 sha256(std::initializer_list<ByteView> parts);
[[nodiscard]] Digest48 sha384(std::initializer_list<ByteView> parts);

/// An incremental hash; movable, one thread at a time.
template <std::size_t N>
class Hasher {
 public:
  Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  void update(ByteView data);
  /// Ends this hash; the object may only be destroyed or assigned afterwards.
  [[nodiscard]] ByteArray<N> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};
using Sha256 = Hasher<32>;
using Sha384 = Hasher<48>;
extern template class Hasher<32>;
extern template class Hasher<48>;

[[nodiscard]] Digest32 hmac_sha256(ByteView key, ByteView data);
[[nodiscard]] Digest32 hmac_sha256(ByteView key, std::initializer_list<ByteView> parts);

/// RFC 5869 with SHA-256.
[[nodiscard]] Secret<32> hkdf_extract(ByteView salt, ByteView input_key);
/// `length` at most 255 * 32 (asserted).
[[nodiscard]] SecretBytes hkdf_expand(ByteView pseudorandom_key, ByteView info, std::size_t length);
[[nodiscard]] SecretBytes hkdf(ByteView salt, ByteView input_key, ByteView info, std::size_t length);
[[nodiscard]] Secret<32> hkdf32(ByteView salt, ByteView input_key, ByteView info);

}  // namespace cloister::crypto
