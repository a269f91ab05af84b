#pragma once

#include <filesystem>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/crypto/secret.hpp"
#include "cloister/lab_snp/authority.hpp"

/// What makes a lab the same one at its next start.
namespace cloister::lab_service {

/// When every lab's certificates begin, so that a seed alone makes them: 2026-01-01.
inline constexpr UnixTime kCreated{std::chrono::seconds{1767225600}};

struct LabState {
  crypto::Secret<32> seed;
  lab_snp::AuthorityKeys authority;
};

/// The seed in `file` and the keys in `<file>.amd-keys.pem`, each made where it is not there (mode 0600; the keys take
/// some seconds). `configuration_invalid` for a file that others may touch, or that is not as written.
[[nodiscard]] Result<LabState> open_state(const std::filesystem::path& file, Random& random,
                                          unsigned bits = crypto::RsaPssKey::kMaxBits);

}  // namespace cloister::lab_service
