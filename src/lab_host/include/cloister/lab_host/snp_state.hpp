#pragma once

#include <filesystem>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab_snp/authority.hpp"

namespace cloister::lab_host {

/// LAB ONLY - NOT HARDWARE. The lab's AMD of a platform's directory: under the platform's seed, with RSA keys that are made once
/// (several seconds) and kept in its folder `snp`, beside the roots ("ark-milan.pem" …, for people to name in trust files).
/// Whoever opens it holds the seed, as the platform does; both may run at the same time. The seed is made where there is
/// none. `configuration_invalid` for a state that is not whole or that others may read.
[[nodiscard]] Result<lab_snp::Authority> open_snp_authority(const std::filesystem::path& state, const Clock& clock, Random& random);

}  // namespace cloister::lab_host
