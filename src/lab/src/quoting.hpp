#pragma once

#include <string>

#include "authority.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/td_report.hpp"
#include "cloister/lab/platform.hpp"

namespace cloister::lab {

/// The enclaves of a machine that turn a TDREPORT into a quote: the TD quoting enclave, which holds the attestation
/// key, and the provisioning certification enclave, which holds the PCK key and vouches for the other's report (Intel
/// TDX DCAP Quoting Library API, appendix A; Intel SGX ECDSA QuoteLibReference DCAP API, appendix A).
class QuotingEnclave {
 public:
  QuotingEnclave(const Seed& seed, const MachineTcb& tcb, crypto::EcPrivateKey pck_key, std::string pck_chain);

  /// A quote over a report that was verified before.
  [[nodiscard]] Bytes quote(const evidence::TdReport& report, QuoteFormat format) const;

  /// What TCB documents say of this enclave, without dates and levels.
  [[nodiscard]] evidence::QeIdentity identity() const;

 private:
  [[nodiscard]] evidence::SgxReport own_report() const;

  crypto::EcPrivateKey attestation_key_;
  crypto::EcPrivateKey pck_key_;
  std::string pck_chain_;
  ByteArray<16> platform_id_;
  ByteArray<16> cpu_svn_;
  std::uint16_t isv_svn_;
};

}  // namespace cloister::lab
