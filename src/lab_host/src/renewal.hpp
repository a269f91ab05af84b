#pragma once

#include <filesystem>
#include <optional>

#include "cloister/core/log.hpp"
#include "state.hpp"

namespace cloister::lab_host {

/// Collateral of a directory whose platform runs in this process, written anew before it grows old: as the platform's story has it,
/// which withheld collateral and the lab's clock are part of. The references outlive it. One thread at a time.
class CollateralRenewal {
 public:
  CollateralRenewal(std::filesystem::path directory, const lab::Platform& platform, const Clock& clock)
      : directory_{std::move(directory)}, platform_{platform}, clock_{clock} {}

  /// Writes it the first time, and when what was written last is `kCollateralAge` old or of a later time than now. A failure leaves
  /// what is there, and the next call tries again.
  [[nodiscard]] Result<void> renew();

 private:
  std::filesystem::path directory_;
  const lab::Platform& platform_;
  const Clock& clock_;
  std::optional<UnixTime> issued_;
};

}  // namespace cloister::lab_host
