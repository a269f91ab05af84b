#include "cloister/lab_service/machine.hpp"

#include <future>

#include "cloister/crypto/hash.hpp"

namespace cloister::lab_service {
namespace {

constexpr unsigned kQuotingProcessor = lab_sgx::Cpu::kProcessors - 1;

crypto::Secret<32> part_of(const crypto::Secret<32>& seed, std::string_view use) {
  return crypto::hkdf32({}, seed.reveal(), as_bytes(use));
}

crypto::RsaPrivateKey signer_of(const crypto::Secret<32>& seed, std::string_view whose) {
  return crypto::RsaPrivateKey::derive_3072_e3(seed.reveal(), as_bytes(whose));
}

}  // namespace

Machine::Machine(lab::Platform made, crypto::RsaPrivateKey enclave_signer, lab_snp::Authority amd, const kms::Kms& kms,
                 Random& source)
    : platform{std::move(made)},
      signer{std::move(enclave_signer)},
      cpu{platform.sgx_root(), {.cpu_svn = platform.machine().sgx_components}},
      authority{std::move(amd)},
      keys{kms},
      random{source} {}

Result<std::unique_ptr<Machine>> Machine::create(const crypto::Secret<32>& seed, UnixTime created,
                                                 lab_snp::AuthorityKeys authority, const kms::Kms& keys,
                                                 Random& random) {
  auto quoting_signer = std::async(std::launch::async,
                                   [&seed] { return signer_of(seed, "cloister/lab/1/signer of the quoting enclave"); });
  auto out = std::make_unique<Machine>(
      lab::Platform::create(part_of(seed, "cloister/lab/1/SGX platform"), created),
      signer_of(seed, "cloister/lab/1/signer of enclaves"),
      lab_snp::Authority::create(part_of(seed, "cloister/lab/1/SNP platform"), std::move(authority), created), keys,
      random);
  const auto& platform = out->platform;
  lab_sgx::Certification certification{
      .sign = [&platform](const evidence::SgxReport& report) { return platform.certify(report); },
      .pck_chain = platform.pck_chain(),
      .pce_svn = platform.machine().pcesvn};
  CLOISTER_TRY(quoting, lab_sgx::QuotingEnclave::start(out->cpu, 0, kQuotingProcessor, platform.machine().qe_isvsvn,
                                                       quoting_signer.get(), std::move(certification)));
  out->quoting_enclave.emplace(std::move(quoting));
  return out;
}

}  // namespace cloister::lab_service
