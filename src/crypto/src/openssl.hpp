#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "cloister/core/assert.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// RAII and error handling for OpenSSL 3 handles, shared by this module's sources.
namespace cloister::crypto::ossl {

template <auto Free>
struct Releaser {
  template <class T>
  void operator()(T* handle) const noexcept {
    Free(handle);
  }
};

using MdPtr = std::unique_ptr<EVP_MD, Releaser<EVP_MD_free>>;
using MdCtxPtr = std::unique_ptr<EVP_MD_CTX, Releaser<EVP_MD_CTX_free>>;
using MacPtr = std::unique_ptr<EVP_MAC, Releaser<EVP_MAC_free>>;
using MacCtxPtr = std::unique_ptr<EVP_MAC_CTX, Releaser<EVP_MAC_CTX_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, Releaser<EVP_CIPHER_free>>;
using CipherCtxPtr = std::unique_ptr<EVP_CIPHER_CTX, Releaser<EVP_CIPHER_CTX_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, Releaser<EVP_PKEY_free>>;
using PkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, Releaser<EVP_PKEY_CTX_free>>;
using BnPtr = std::unique_ptr<BIGNUM, Releaser<BN_clear_free>>;
using BnCtxPtr = std::unique_ptr<BN_CTX, Releaser<BN_CTX_free>>;
using EcGroupPtr = std::unique_ptr<EC_GROUP, Releaser<EC_GROUP_free>>;
using EcPointPtr = std::unique_ptr<EC_POINT, Releaser<EC_POINT_clear_free>>;
using EcdsaSigPtr = std::unique_ptr<ECDSA_SIG, Releaser<ECDSA_SIG_free>>;

/// A call that only fails when the library is broken or memory is out; 1 is its documented success.
inline void must(int result) { CLOISTER_ASSERT(result == 1); }

/// A freshly made handle, which must not be null.
template <class Pointer>
[[nodiscard]] Pointer made(Pointer handle) {
  CLOISTER_ASSERT(handle != nullptr);
  return handle;
}

/// An Error, with OpenSSL's error queue drained (its texts may quote input, so they are not kept).
[[nodiscard]] inline Error refused(Errc code, std::string detail) {
  ERR_clear_error();
  return Error{code, std::move(detail)};
}

/// A pointer that is never null, also for an empty view (null means "absent" to many calls).
[[nodiscard]] inline const std::uint8_t* data(ByteView view) noexcept {
  static constexpr std::uint8_t kNothing = 0;
  return view.empty() ? &kNothing : view.data();
}

}  // namespace cloister::crypto::ossl
