#pragma once

#include <array>
#include <string_view>

#include "cloister/token/trustee.hpp"

/// Names that makers and verifiers of tokens share.
namespace cloister::token {

/// A boolean of ours at the top of an EAR: simulated evidence of a lab.
inline constexpr std::string_view kLabClaim = "cloister.lab";

struct TrustClaim {
  std::string_view name;
  std::int8_t TrustVector::* member;
};
inline constexpr std::array<TrustClaim, 8> kTrustClaims{{{"instance-identity", &TrustVector::instance_identity},
                                                         {"configuration", &TrustVector::configuration},
                                                         {"executables", &TrustVector::executables},
                                                         {"file-system", &TrustVector::file_system},
                                                         {"hardware", &TrustVector::hardware},
                                                         {"runtime-opaque", &TrustVector::runtime_opaque},
                                                         {"storage-opaque", &TrustVector::storage_opaque},
                                                         {"sourced-data", &TrustVector::sourced_data}}};

}  // namespace cloister::token
