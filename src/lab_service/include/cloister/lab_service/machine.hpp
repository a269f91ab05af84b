#pragma once

#include <map>
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
#include "cloister/lab_snp/host.hpp"

namespace cloister::lab_service {

/// LAB ONLY - NOT HARDWARE. A machine with SEV-SNP and one chip: its memory behind the RMP, the firmware of its
/// security processor, and the VMM that commands both. Its reports are version 5. With the same seed, guests that are
/// created in the same order have the same identities and keys (docs/adr/0090-one-snp-machine.md). One thread at a
/// time.
struct SnpMachine {
  static constexpr std::size_t kMemoryPages = 16384;  // of 4 KiB

  /// `authority`, which makes the chip, outlives it.
  SnpMachine(const lab_snp::Authority& authority, evidence::SnpProduct product, crypto::Secret<32> seed);
  SnpMachine(const SnpMachine&) = delete;
  SnpMachine& operator=(const SnpMachine&) = delete;

  std::unique_ptr<Random> random;  // firmware's
  lab_snp::Memory memory{kMemoryPages};
  lab_snp::Firmware firmware;
  lab_snp::Host host{memory, firmware};
};

/// LAB ONLY - NOT HARDWARE. What the lab's enclaves and VMs run on, and who vouches for it: a CPU with SGX and its
/// quoting enclave, a machine with SEV-SNP of each product, the authorities of all, and a keeper of keys. One thread at
/// a time.
struct Machine {
  /// `created` begins the certificates' validity. With the same seed and time, every key and every signed content is
  /// the same, but for the three RSA keys of `authority`. Takes a second. `random` and `keys` outlive the machine.
  [[nodiscard]] static Result<std::unique_ptr<Machine>> create(const crypto::Secret<32>& seed, UnixTime created,
                                                               lab_snp::AuthorityKeys authority, const kms::Kms& keys,
                                                               Random& random);

  static constexpr auto kProduct = evidence::SnpProduct::genoa;  // where nobody says otherwise

  /// The machine of Milan, Genoa or Turin (others asserted).
  [[nodiscard]] SnpMachine& snp(evidence::SnpProduct product) const;

  lab::Platform platform;
  crypto::RsaPrivateKey signer;  // of the lab's enclaves; MRSIGNER is its
  lab_sgx::Cpu cpu;
  lab_snp::Authority authority;
  std::map<evidence::SnpProduct, std::unique_ptr<SnpMachine>> snp_machines;  // Milan, Genoa, Turin
  const kms::Kms& keys;
  Random& random;
  std::optional<lab_sgx::QuotingEnclave> quoting_enclave;  // always there once `create` returns

  Machine(lab::Platform platform, crypto::RsaPrivateKey signer, lab_snp::Authority authority, const kms::Kms& keys,
          Random& random);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
};

}  // namespace cloister::lab_service
