#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/random.hpp"
#include "cloister/crypto/signature_cache.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/pck.hpp"

namespace cloister::attestation {

/// Certificates of a quote, parsed.
struct ParsedChain {
  std::vector<crypto::x509::CertificatePtr> certificates;  // leaf first
  Result<evidence::PckExtension> extension;                // of the leaf
};
using ParsedChainPtr = std::shared_ptr<const ParsedChain>;

/// What verifications need not do again: signatures that were valid, and PCK chains that were parsed. Nothing that
/// may change is remembered: names, constraints, dates, revocation and TCB are evaluated in every verification, with
/// the roots, the collateral and the time of that one. So one cache may serve callers with different roots.
///
/// Only what a trusted root vouches for gets in: signatures in chains from the root down, and whatever is signed with
/// the keys of such a chain. Forged evidence neither gets in nor drives anything out. Attestation keys' signatures over
/// quotes are not kept, since no quote comes twice.
/// Of bounded size; where an entry stands is salted, so that nobody can aim. Thread-safe.
class VerificationCache {
 public:
  struct Limits {
    std::size_t signatures = 4096;  // 32 bytes each
    std::size_t chains = 512;       // some 10 KiB each
  };
  /// `random` is used here only, for the salt.
  VerificationCache(Random& random, Limits limits);
  explicit VerificationCache(Random& random) : VerificationCache{random, Limits{}} {}

  [[nodiscard]] crypto::SignatureCache& signatures() noexcept { return signatures_; }
  [[nodiscard]] const crypto::SignatureCache& signatures() const noexcept { return signatures_; }
  /// The chain that exactly these bytes (certification data) are known to hold, or null.
  [[nodiscard]] ParsedChainPtr find_chain(ByteView data);
  /// Remembers what the bytes hold. Only for chains that were verified.
  void keep_chain(ByteView data, ParsedChainPtr chain);
  [[nodiscard]] std::size_t chains() const;

 private:
  /// Ids are salted digests already.
  struct Hash {
    std::size_t operator()(const Digest32& id) const noexcept;
  };
  using Chains = std::unordered_map<Digest32, ParsedChainPtr, Hash>;
  [[nodiscard]] Digest32 id_of(ByteView data) const;

  Digest32 salt_{};
  crypto::SignatureCache signatures_;
  const std::size_t most_chains_;  // of a generation
  mutable std::mutex lock_;        // of both generations: the older one is forgotten when the newer one is full
  Chains newer_;
  Chains older_;
};

}  // namespace cloister::attestation
