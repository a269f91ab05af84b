#pragma once

#include <functional>
#include <string>

#include "cloister/crypto/ecdsa.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/lab_sgx/cpu.hpp"

namespace cloister::lab_sgx {

/// What the provisioning certification enclave does for the quoting enclave: signs its report by the PCK key. The lab's
/// platform gives it.
struct Certification {
  std::function<ByteArray<64>(const evidence::SgxReport& qe_report)> sign;
  std::string pck_chain;  // PEM, leaf to root
  std::uint16_t pce_svn = 0;
  ByteArray<16> platform_id{};
};

/// The quoting enclave: an enclave like any other, which stays entered on a processor of its own. Its attestation key comes
/// from its seal key, so that it is the same after each start, and is certified once, at the start (Intel SGX ECDSA
/// QuoteLibReference DCAP API, appendix A). Refers to the CPU, which must outlive it.
class QuotingEnclave {
 public:
  static constexpr EpcIndex kPages = 4;  // SECS, TCS, code, SSA
  /// Builds and enters it in free pages from `first` on, and has its report signed. `permission_denied` with the leaf's code when one refuses.
  [[nodiscard]] static Result<QuotingEnclave> start(Cpu& cpu, EpcIndex first, unsigned processor, std::uint16_t isv_svn,
                                                    const crypto::RsaPrivateKey& signer, const Certification& certification);

  /// For whom reports to be quoted are made.
  [[nodiscard]] TargetInfo target() const;
  /// A quote, version 3, of a report of this machine: its MAC must hold under the enclave's own report key, else
  /// `permission_denied`.
  [[nodiscard]] Result<Bytes> quote(const Report& report) const;
  /// What TCB documents say of this enclave, without dates and levels.
  [[nodiscard]] evidence::QeIdentity identity() const;

 private:
  QuotingEnclave(const Cpu& cpu, unsigned processor, crypto::EcPrivateKey key, evidence::QuoteContent form)
      : cpu_{&cpu}, processor_{processor}, attestation_key_{std::move(key)}, form_{std::move(form)} {}
  const Cpu* cpu_;
  unsigned processor_;
  crypto::EcPrivateKey attestation_key_;
  evidence::QuoteContent form_;  // of every quote: all but body and signature
};

}  // namespace cloister::lab_sgx
