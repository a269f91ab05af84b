#pragma once

#include <filesystem>

#include "cloister/core/result.hpp"
#include "cloister/crypto/curve25519.hpp"
#include "cloister/crypto/secret.hpp"

/// Secret files of the person or host that runs a command.
namespace cloister::cli {

/// 32 secret bytes in a file of mode 0600, made (random) if it is missing. `configuration_invalid` for a file that
/// others may read, or of another length.
[[nodiscard]] Result<crypto::Secret<32>> load_or_make_secret(const std::filesystem::path& file);
/// A hotkey, whose seed is such a secret.
[[nodiscard]] Result<crypto::Ed25519Key> load_or_make_hotkey(const std::filesystem::path& file);

}  // namespace cloister::cli
