#include "cloister/lab_sgx/sealing.hpp"

#include <gtest/gtest.h>

#include "enclave.hpp"
#include "support/support.hpp"

namespace cloister::lab_sgx {
namespace {

using namespace test;
using namespace key_policy;
namespace flag = evidence::sgx_flag;

struct Sealing : ::testing::Test {
  cloister::test::SeededRandom random{1};
  Bytes secret = to_bytes(std::string_view{"the secret"});

  static Cpu machine(const Build& build, std::uint8_t first = 1, CpuSvn svn = {3}) {
    Cpu cpu{root(first), {.cpu_svn = svn, .pages = 8}};
    start(cpu, build);
    return cpu;
  }
  Bytes sealed(const Cpu& cpu, std::uint16_t policy, const std::optional<SealedVersion>& version = {}) {
    return seal(cpu, 0, policy, secret, version, random).value();
  }
  static std::string opens(const Cpu& cpu, ByteView blob, const std::optional<SealedVersion>& current = {}) {
    const auto opened = unseal(cpu, 0, blob, current);
    return opened.ok() ? std::string{as_text(opened->reveal())} : opened.error().text();
  }
};

TEST_F(Sealing, OpensForTheIdentityThatItsPolicyNames) {
  const auto cpu = machine({});
  const auto enclave = sealed(cpu, kMrEnclave);
  const auto signer = sealed(cpu, kMrSigner);
  EXPECT_NE(enclave, sealed(cpu, kMrEnclave));
  for (const auto& blob : {enclave, signer}) EXPECT_EQ(opens(cpu, blob), "the secret");
  const auto changed = machine({.code = 0x91});
  EXPECT_EQ(unseal(changed, 0, enclave, {}).error().code(), Errc::decryption_failed);
  EXPECT_EQ(opens(changed, signer), "the secret");
  const auto other_signer = machine({.signer = "b"});
  EXPECT_EQ(opens(other_signer, enclave), "the secret");
  EXPECT_EQ(unseal(other_signer, 0, signer, {}).error().code(), Errc::decryption_failed);
  EXPECT_EQ(unseal(machine({.prod_id = 2}), 0, signer, {}).error().code(), Errc::decryption_failed);
  EXPECT_EQ(unseal(machine({}, 2), 0, enclave, {}).error().code(), Errc::decryption_failed);
}

TEST_F(Sealing, DebugEnclavesOpenNothingOfProduction) {
  const auto blob = sealed(machine({}), kMrSigner);
  const auto debug = machine({.flags = flag::kMode64 | flag::kDebug});
  EXPECT_EQ(unseal(debug, 0, blob, {}).error().code(), Errc::decryption_failed);
}

TEST_F(Sealing, NewerVersionsOpenWhatOlderOnesSealedAndNotTheReverse) {
  const auto old_svn = machine({.svn = 1});
  const auto new_svn = machine({.svn = 2});
  EXPECT_EQ(opens(new_svn, sealed(old_svn, kMrSigner)), "the secret");
  EXPECT_EQ(opens(old_svn, sealed(new_svn, kMrSigner)), "permission_denied: EGETKEY: SGX_INVALID_ISVSVN");
  const auto old_cpu = machine({}, 1, {2});
  const auto new_cpu = machine({}, 1, {3});
  EXPECT_EQ(opens(new_cpu, sealed(old_cpu, kMrEnclave)), "the secret");
  EXPECT_EQ(opens(old_cpu, sealed(new_cpu, kMrEnclave)), "permission_denied: EGETKEY: SGX_INVALID_CPUSVN");
}

TEST_F(Sealing, CounterShowsARollback) {
  const auto cpu = machine({});
  SealedVersion version{.counter = {1}, .value = 4};
  const auto yesterday = sealed(cpu, kMrEnclave, version);
  EXPECT_EQ(opens(cpu, yesterday, version), "the secret");
  version.value = 5;
  EXPECT_EQ(opens(cpu, yesterday, version), "conflict: sealed data: version 4 < counter 5");
  version.value = 3;
  EXPECT_EQ(opens(cpu, yesterday, version), "conflict: sealed data: version 4 > counter 3");
  EXPECT_EQ(unseal(cpu, 0, yesterday, {}).error().code(), Errc::conflict);
  EXPECT_EQ(unseal(cpu, 0, yesterday, SealedVersion{.counter = {2}, .value = 4}).error().code(), Errc::conflict);
  EXPECT_EQ(unseal(cpu, 0, sealed(cpu, kMrEnclave), version).error().code(), Errc::conflict);
}

TEST_F(Sealing, EveryChangedByteIsRefused) {
  const auto cpu = machine({});
  const auto good = sealed(cpu, kMrEnclave, SealedVersion{.counter = {1}, .value = 4});
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto changed = good;
    changed[i] ^= 1;
    EXPECT_FALSE(unseal(cpu, 0, changed, SealedVersion{.counter = {1}, .value = 4}).ok()) << i;
  }
  for (std::size_t size = 0; size < good.size(); size += 13) EXPECT_FALSE(unseal(cpu, 0, ByteView{good}.first(size), {}).ok());
}

TEST_F(Sealing, NeedsAPolicyAndAnEnclave) {
  auto cpu = machine({});
  EXPECT_EQ(seal(cpu, 0, 0, secret, {}, random).error().code(), Errc::invalid_argument);
  EXPECT_EQ(seal(cpu, 0, kMrEnclave | kConfigId, secret, {}, random).error().code(), Errc::permission_denied);
  EXPECT_EQ(seal(cpu, 1, kMrEnclave, secret, {}, random).error().code(), Errc::permission_denied);
  const Bytes large(kMaxSealedSize);
  EXPECT_EQ(seal(cpu, 0, kMrEnclave, large, {}, random).error().code(), Errc::limit_exceeded);
  EXPECT_EQ(parse_sealed(Bytes(kMaxSealedSize + 1)).error().code(), Errc::limit_exceeded);
  const auto blob = sealed(cpu, kMrEnclave);
  ASSERT_EQ(cpu.eexit(0), Code::success);
  EXPECT_EQ(unseal(cpu, 0, blob, {}).error().code(), Errc::permission_denied);
}

}  // namespace
}  // namespace cloister::lab_sgx
