#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/lab/platform.hpp"

namespace cloister::lab {

/// A seed and what it makes: every key and identity is HKDF of it under a name of its own.
class Seed {
 public:
  explicit Seed(crypto::Secret<32> seed) : seed_{std::move(seed)} {}
  [[nodiscard]] Seed copy() const { return Seed{seed_.clone()}; }
  [[nodiscard]] crypto::EcPrivateKey key(std::string_view use) const;
  [[nodiscard]] crypto::Secret<32> secret(std::string_view use) const;
  /// An identity that anybody may see.
  template <std::size_t N>
  [[nodiscard]] ByteArray<N> identity(std::string_view use) const {
    const auto derived = secret(use);
    return to_array<N>(derived.reveal().template first<N>());
  }

 private:
  crypto::Secret<32> seed_;
};

/// One certificate of the lab with the key that it is for.
struct Issued {
  crypto::EcPrivateKey key;
  crypto::x509::CertificatePtr certificate;
};

/// What Intel is to real machines: root CA, PCK platform CA and TCB signer (Intel SGX PCK Certificate and CRL Profile
/// Specification, sections 1 and 2). Each certificate carries the lab's marker.
class Authority {
 public:
  [[nodiscard]] static Authority create(const Seed& seed, UnixTime created, Names names);
  /// With a root certificate that `create` made from the same seed.
  [[nodiscard]] static Result<Authority> open(const Seed& seed, ByteView root, Names names);

  [[nodiscard]] UnixTime created() const noexcept { return root_.certificate->not_before; }
  [[nodiscard]] const crypto::x509::Certificate& root() const noexcept { return *root_.certificate; }
  /// A PCK certificate for a machine's key.
  [[nodiscard]] crypto::x509::CertificatePtr issue_pck(const crypto::EcPublicKey& key, const ByteArray<16>& serial,
                                                       const evidence::PckExtension& extension) const;
  /// `leaf`, platform CA, root.
  [[nodiscard]] std::string chain_of(const crypto::x509::Certificate& leaf) const;
  [[nodiscard]] std::string ca_chain() const;          // platform CA, root
  [[nodiscard]] std::string tcb_signer_chain() const;  // TCB signer, root

  [[nodiscard]] Bytes root_crl(UnixTime now, std::vector<crypto::x509::RevokedEntry> revoked) const;
  [[nodiscard]] Bytes pck_crl(UnixTime now, std::vector<crypto::x509::RevokedEntry> revoked) const;
  /// r || s of the TCB signer over a document's exact bytes.
  [[nodiscard]] ByteArray<64> sign_document(std::string_view document) const;

 private:
  Authority(const Seed& seed, Issued root, Names names);
  Names names_;
  Issued root_;
  Issued ca_;
  Issued tcb_signer_;
};

}  // namespace cloister::lab
