#include <cstddef>
#include <cstdint>

#include "cloister/core/assert.hpp"
#include "cloister/lab/tdx.hpp"

/// A firmware that a machine builds has the measurement that is computed of it; one that it refuses leaves nothing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  using measure::TdvfProfile;
  static const lab::tdx::ModuleInfo info;
  static const lab::tdx::ReportKey key{crypto::Secret<32>{ByteArray<32>{1}}};
  constexpr lab::tdx::Module::Options kSmall{.memory = 32U << 20};
  static const auto machine = std::make_shared<lab::tdx::Machine>(info, key, kSmall);
  const ByteView firmware{data, size};
  for (const auto profile : {TdvfProfile::single_pass, TdvfProfile::two_pass}) {
    const auto td = lab::tdx::launch_firmware(machine, {}, firmware, profile);
    if (td) CLOISTER_ASSERT(td->mrtd() == measure::mrtd_of_tdvf(firmware, profile).value());
  }
  CLOISTER_ASSERT(machine->module.pamt().all().empty());
  return 0;
}
