#include "cloister/crypto/hash.hpp"

#include <array>

#include "openssl.hpp"
#include "public_digest.hpp"

namespace cloister::crypto {
namespace {

template <std::size_t N>
constexpr const char* kName = N == 32 ? "SHA2-256" : N == 48 ? "SHA2-384" : "SHA2-512";

/// Fetched once: a fetch costs more than hashing a short message.
template <std::size_t N>
const EVP_MD* algorithm() {
  static const auto md = ossl::made(ossl::MdPtr{EVP_MD_fetch(nullptr, kName<N>, nullptr)});
  return md.get();
}

template <std::size_t N>
ossl::MdCtxPtr start() {
  auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  ossl::must(EVP_DigestInit_ex2(context.get(), algorithm<N>(), nullptr));
  return context;
}

template <std::size_t N>
ByteArray<N> finish(EVP_MD_CTX* context) {
  ByteArray<N> out;
  unsigned size = 0;
  ossl::must(EVP_DigestFinal_ex(context, out.data(), &size));
  CLOISTER_ASSERT(size == N);
  return out;
}

template <std::size_t N>
ByteArray<N> digest(std::initializer_list<ByteView> parts) {
  const auto context = start<N>();
  for (const auto part : parts) ossl::must(EVP_DigestUpdate(context.get(), part.data(), part.size()));
  return finish<N>(context.get());
}

template <std::size_t N>
ByteArray<N> public_digest(std::initializer_list<ByteView> parts) {
  thread_local const auto context = ossl::made(ossl::MdCtxPtr{EVP_MD_CTX_new()});
  ossl::must(EVP_DigestInit_ex2(context.get(), algorithm<N>(), nullptr));
  for (const auto part : parts) ossl::must(EVP_DigestUpdate(context.get(), part.data(), part.size()));
  return finish<N>(context.get());
}

/// HMAC-SHA256 without a key yet; each use works on a copy, which spares fetching MAC and digest again.
const EVP_MAC_CTX* hmac_template() {
  static const auto context = [] {
    const auto mac = ossl::made(ossl::MacPtr{EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr)});
    auto made = ossl::made(ossl::MacCtxPtr{EVP_MAC_CTX_new(mac.get())});
    std::string name = kName<32>;
    const std::array parameters{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name.data(), 0),
                                OSSL_PARAM_construct_end()};
    ossl::must(EVP_MAC_CTX_set_params(made.get(), parameters.data()));
    return made;
  }();
  return context.get();
}

}  // namespace

Digest32 sha256(ByteView data) { return digest<32>({data}); }
Digest48 sha384(ByteView data) { return digest<48>({data}); }
Digest64 sha512(ByteView data) { return digest<64>({data}); }
Digest32 sha256(std::initializer_list<ByteView> parts) { return digest<32>(parts); }
Digest48 sha384(std::initializer_list<ByteView> parts) { return digest<48>(parts); }

Digest32 public_sha256(std::initializer_list<ByteView> parts) { return public_digest<32>(parts); }
Digest48 public_sha384(std::initializer_list<ByteView> parts) { return public_digest<48>(parts); }

template <std::size_t N>
struct Hasher<N>::State {
  ossl::MdCtxPtr context = start<N>();
};

template <std::size_t N>
Hasher<N>::Hasher() : state_{std::make_unique<State>()} {}
template <std::size_t N>
Hasher<N>::Hasher(Hasher&&) noexcept = default;
template <std::size_t N>
Hasher<N>& Hasher<N>::operator=(Hasher&&) noexcept = default;
template <std::size_t N>
Hasher<N>::~Hasher() = default;

template <std::size_t N>
void Hasher<N>::update(ByteView data) {
  CLOISTER_ASSERT(state_ != nullptr);
  ossl::must(EVP_DigestUpdate(state_->context.get(), data.data(), data.size()));
}

template <std::size_t N>
ByteArray<N> Hasher<N>::finish() {
  CLOISTER_ASSERT(state_ != nullptr);
  const auto state = std::move(state_);
  return crypto::finish<N>(state->context.get());
}

template class Hasher<32>;
template class Hasher<48>;

Digest32 hmac_sha256(ByteView key, std::initializer_list<ByteView> parts) {
  const auto context = ossl::made(ossl::MacCtxPtr{EVP_MAC_CTX_dup(hmac_template())});
  ossl::must(EVP_MAC_init(context.get(), ossl::data(key), key.size(), nullptr));
  for (const auto part : parts) ossl::must(EVP_MAC_update(context.get(), ossl::data(part), part.size()));
  Digest32 out;
  std::size_t size = 0;
  ossl::must(EVP_MAC_final(context.get(), out.data(), &size, out.size()));
  CLOISTER_ASSERT(size == out.size());
  return out;
}

Digest32 hmac_sha256(ByteView key, ByteView data) { return hmac_sha256(key, {data}); }

Secret<32> hkdf_extract(ByteView salt, ByteView input_key) {
  auto pseudorandom_key = hmac_sha256(salt, input_key);
  auto out = Secret<32>::copy_of(pseudorandom_key);
  cleanse(pseudorandom_key);
  return out;
}

SecretBytes hkdf_expand(ByteView pseudorandom_key, ByteView info, std::size_t length) {
  CLOISTER_ASSERT(length <= 255 * sizeof(Digest32));
  SecretBytes out{length};
  auto rest = out.writable();
  Digest32 block{};
  for (std::uint8_t counter = 1; !rest.empty(); ++counter) {
    const auto previous = counter == 1 ? ByteView{} : ByteView{block};
    block = hmac_sha256(pseudorandom_key, {previous, info, ByteView{&counter, 1}});
    const auto taken = std::min(rest.size(), block.size());
    std::copy_n(block.begin(), taken, rest.begin());
    rest = rest.subspan(taken);
  }
  cleanse(block);
  return out;
}

SecretBytes hkdf(ByteView salt, ByteView input_key, ByteView info, std::size_t length) {
  const auto pseudorandom_key = hkdf_extract(salt, input_key);
  return hkdf_expand(pseudorandom_key.reveal(), info, length);
}

Secret<32> hkdf32(ByteView salt, ByteView input_key, ByteView info) {
  return Secret<32>::copy_of(hkdf(salt, input_key, info, 32).reveal());
}

}  // namespace cloister::crypto
