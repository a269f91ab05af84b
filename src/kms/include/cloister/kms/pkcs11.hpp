#pragma once

#include <chrono>
#include <memory>

#include "cloister/core/random.hpp"
#include "cloister/kms/kms.hpp"
#include "cloister/kms/pkcs11_uri.hpp"

namespace cloister::kms {

/// A Kms whose keys are made inside an HSM and never leave it (docs/kms.md, ADR 0100), through PKCS#11 2.40.
///
/// Labels of its objects are OBJECT/root (generic secret), OBJECT/wrap (AES-256) and OBJECT/sign/NAME (Ed25519). Each is
/// found by label, and refused (`hsm_key_unfit`) when it could be or could ever have been read outside.
/// `derive` is HKDF-Expand (RFC 5869) with the root as pseudorandom key, one HMAC in the HSM. Wrapped keys are the CBOR
/// array ["cloister/kms/hsm/1", "wrap", iv, ciphertext]: AES-256-GCM in the HSM. Sealed values are
/// ["cloister/kms/hsm/1", "seal", iv, wrapped key, ciphertext]: a key of its own for each value, wrapped in the HSM, and
/// ChaCha20-Poly1305 under it here. Thread-safe.
///
/// Errors of every call, besides the interface's: `unavailable` (the HSM is gone, or stays busy; a later call finds it
/// again), `hsm_pin_refused` (once; afterwards no login is tried, so that the token does not lock itself),
/// `hsm_pin_locked`, `hsm_key_missing`, `hsm_key_unfit`. A call that fails has done nothing.
class Pkcs11Kms final : public Kms {
 public:
  struct Options {
    /// Whether a root that is not there is made: not where something is sealed under it already.
    bool make_keys = false;
    std::size_t sessions = 8;                // at the same time, at most
    std::chrono::milliseconds wait{10'000};  // for a session that others have
    std::chrono::milliseconds pause{1'000};  // between attempts to find an HSM that is gone
  };

  /// Logs in by the PIN in the URI's file (mode 0600, this user's; one line feed at its end is not part of it), and
  /// finds or makes root and wrapping key. `random` outlives this.
  [[nodiscard]] static Result<std::unique_ptr<Pkcs11Kms>> open(const Pkcs11Uri& uri, const Options& options, Random& random);
  ~Pkcs11Kms() override;

  [[nodiscard]] Result<crypto::Secret<32>> derive(ByteView info) const override;
  [[nodiscard]] Result<Bytes> wrap(const crypto::Secret<32>& key, ByteView associated) const override;
  [[nodiscard]] Result<crypto::Secret<32>> unwrap(ByteView wrapped, ByteView associated) const override;
  [[nodiscard]] Result<Bytes> seal(ByteView associated, ByteView plaintext) const override;
  [[nodiscard]] Result<crypto::SecretBytes> open(ByteView associated, ByteView sealed) const override;
  /// The HSM is asked once for each name: a key that is removed or replaced later does not become another one.
  [[nodiscard]] Result<crypto::Ed25519Public> public_key(std::string_view name) const override;
  /// Every signature is verified before it is given out: `hsm_key_unfit` when it is not the public half's.
  [[nodiscard]] Result<crypto::Ed25519Signature> sign(std::string_view name, ByteView message) const override;
  [[nodiscard]] Result<void> probe() const override;

 private:
  class Impl;
  explicit Pkcs11Kms(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::kms
