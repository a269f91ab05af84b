#pragma once

#include <memory>
#include <optional>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/rsa.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/kms/kms.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab_sgx/cpu.hpp"
#include "cloister/lab_sgx/quoting.hpp"
#include "cloister/lab_snp/authority.hpp"
#include "cloister/lab_snp/rmp.hpp"

namespace cloister::lab_service {

/// LAB ONLY - NOT HARDWARE. What the lab's enclaves and VMs run on, and who vouches for it: a CPU with SGX and its
/// quoting enclave, the memory of a machine with SEV-SNP, the authorities of both, and a keeper of keys. One thread at
/// a time.
struct Machine {
  /// `created` begins the certificates' validity. With the same seed and time, every key and every signed content is
  /// the same, but for the three RSA keys of `authority`. Takes a second. `random` and `keys` outlive the machine.
  [[nodiscard]] static Result<std::unique_ptr<Machine>> create(const crypto::Secret<32>& seed, UnixTime created,
                                                               lab_snp::AuthorityKeys authority, const kms::Kms& keys,
                                                               Random& random);

  static constexpr std::size_t kMemoryPages = 16384;  // of 4 KiB, of the machine with SEV-SNP
  static constexpr auto kProduct = evidence::SnpProduct::genoa;
  static constexpr evidence::SnpTcb kTcb{.fmc = std::nullopt, .bootloader = 9, .tee = 0, .snp = 23, .microcode = 72};

  lab::Platform platform;
  crypto::RsaPrivateKey signer;  // of the lab's enclaves; MRSIGNER is its
  lab_sgx::Cpu cpu;
  lab_snp::Authority authority;
  lab_snp::Rmp rmp{kMemoryPages};
  const kms::Kms& keys;
  Random& random;
  std::optional<lab_sgx::QuotingEnclave> quoting_enclave;  // always there once `create` returns

  Machine(lab::Platform platform, crypto::RsaPrivateKey signer, lab_snp::Authority authority, const kms::Kms& keys,
          Random& random);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
};

}  // namespace cloister::lab_service
