#include "cloister/lab_service/machine.hpp"

#include <future>
#include <string>

#include "cloister/crypto/hash.hpp"
#include "seeded_random.hpp"

namespace cloister::lab_service {
namespace {

using evidence::SnpProduct;

constexpr std::uint32_t kReportVersion = 5;
constexpr unsigned kQuotingProcessor = lab_sgx::Cpu::kProcessors - 1;

crypto::Secret<32> part_of(const crypto::Secret<32>& seed, std::string_view use) {
  return crypto::hkdf32({}, seed.reveal(), as_bytes(use));
}

crypto::RsaPrivateKey signer_of(const crypto::Secret<32>& seed, std::string_view whose) {
  return crypto::RsaPrivateKey::derive_3072_e3(seed.reveal(), as_bytes(whose));
}

lab_snp::PlatformOptions options_of(SnpProduct product) {
  auto out = lab_snp::PlatformOptions::at(product, lab_snp::usual_tcb(product));
  out.report_version = kReportVersion;
  out.platform_info |= evidence::snp_platform::kAliasCheckComplete;
  return out;
}

}  // namespace

SnpMachine::SnpMachine(const lab_snp::Authority& authority, SnpProduct product, crypto::Secret<32> seed)
    : random{std::make_unique<SeededRandom>(std::move(seed))},
      firmware{lab_snp::Firmware::start(authority, memory, *random, options_of(product)).value()} {}

Machine::Machine(lab::Platform made, crypto::RsaPrivateKey enclave_signer, lab_snp::Authority amd, const kms::Kms& kms,
                 Random& source)
    : platform{std::move(made)},
      signer{std::move(enclave_signer)},
      cpu{platform.sgx_root(), {.cpu_svn = platform.machine().sgx_components}},
      authority{std::move(amd)},
      keys{kms},
      random{source} {}

SnpMachine& Machine::snp(SnpProduct product) const {
  const auto found = snp_machines.find(product);
  CLOISTER_ASSERT(found != snp_machines.end());
  return *found->second;
}

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
  for (const auto product : {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin}) {
    const auto use = "cloister/lab/1/SNP machine " + std::string{evidence::to_string(product)};
    out->snp_machines.emplace(product, std::make_unique<SnpMachine>(out->authority, product, part_of(seed, use)));
  }
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
