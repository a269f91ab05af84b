#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cloister/core/random.hpp"
#include "cloister/lab_sgx/cpu.hpp"
#include "cloister/lab_sgx/sealing.hpp"

/// Sealing by measurement and identity: the key is EGETKEY's seal key by MRENCLAVE, and from it, by HKDF, one for each
/// identity. The blob is that of lab_sgx, bound to a version of the identity's counter.
namespace cloister::lab_service {

/// base64url, without padding. The processor is inside the enclave.
[[nodiscard]] Result<std::string> seal_for(const lab_sgx::Cpu& cpu, unsigned processor, std::string_view identity,
                                           std::uint64_t version, ByteView plaintext, Random& random);
struct Opened {
  crypto::SecretBytes plaintext;
  std::uint64_t version = 0;
};
/// `malformed` for what is not base64, `decryption_failed` for everything else that this enclave did not seal for this
/// identity. Padding may be there.
[[nodiscard]] Result<Opened> open_for(const lab_sgx::Cpu& cpu, unsigned processor, std::string_view identity,
                                      std::string_view token);
/// A key of the enclave's measurement for a purpose.
[[nodiscard]] Result<crypto::Secret<32>> enclave_key(const lab_sgx::Cpu& cpu, unsigned processor,
                                                     std::string_view purpose);

}  // namespace cloister::lab_service
