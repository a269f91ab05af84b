#pragma once

#include <algorithm>

#include "cloister/policy/policy.hpp"

/// Of which kind of guest a measurement is: those whose members it has.
namespace cloister::policy {

[[nodiscard]] inline bool of_td(const Measurements& m) {
  return m.mrtd || m.mr_config_id || m.mr_owner || m.mr_owner_config ||
         std::ranges::any_of(m.rtmr, [](const auto& rtmr) { return rtmr.has_value(); });
}
[[nodiscard]] inline bool of_enclave(const Measurements& m) {
  return m.mr_enclave || m.mr_signer || m.isv_prod_id || m.min_isv_svn;
}
[[nodiscard]] inline bool of_snp_guest(const Measurements& m) {
  return m.measurement || m.host_data || m.id_key_digest || m.author_key_digest || m.family_id || m.image_id ||
         m.min_guest_svn;
}

}  // namespace cloister::policy
