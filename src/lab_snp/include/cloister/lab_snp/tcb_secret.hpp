#pragma once

#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/ecdsa.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/evidence/snp/product.hpp"

/// LAB ONLY - NOT HARDWARE. How endorsement keys follow the TCB (AMD 57230, section 1: a VCEK is derived from secrets of
/// the chip and its TCB_VERSION, so that firmware can make the keys of older versions, and never of newer ones).
namespace cloister::lab_snp {

/// What firmware of one TCB_VERSION holds: for each of its eight components a link of a hash chain that only goes down,
/// link(n - 1) = SHA-256("cloister/lab/1/SNP TCB" || link(n)) from link(255), which the chip's secret makes. The construction
/// is the lab's, silicon's is not published; its shape and what follows from it are the same.
/// Movable, not copyable; const use is thread-safe.
class TcbSecret {
 public:
  /// Of a chip's (or a loaded key's) own secret.
  [[nodiscard]] static TcbSecret at(const crypto::Secret<32>& root, const evidence::SnpTcbVersion& tcb);
  /// What firmware of an older TCB_VERSION held. `permission_denied` when a component of `tcb` is newer than this one's.
  [[nodiscard]] Result<TcbSecret> lower(const evidence::SnpTcbVersion& tcb) const;
  /// The signing key of this TCB_VERSION; `use` tells keys of different uses apart.
  [[nodiscard]] crypto::EcPrivateKey signing_key(std::string_view use) const;
  /// A secret of this TCB_VERSION for another use.
  [[nodiscard]] crypto::Secret<32> secret(std::string_view use) const;
  [[nodiscard]] const evidence::SnpTcbVersion& tcb() const noexcept { return tcb_; }

 private:
  static constexpr std::size_t kComponents = 8;
  using Links = std::vector<crypto::Secret<32>>;  // one a component
  TcbSecret(const evidence::SnpTcbVersion& tcb, Links links) : tcb_{tcb}, links_{std::move(links)} {}
  [[nodiscard]] crypto::SecretBytes joined() const;
  evidence::SnpTcbVersion tcb_;
  Links links_;
};

}  // namespace cloister::lab_snp
