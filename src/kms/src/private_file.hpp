#pragma once

#include <filesystem>
#include <string_view>

#include "cloister/core/result.hpp"
#include "cloister/crypto/secret.hpp"

namespace cloister::kms {

/// A secret in a file of this user's that nobody else may touch, of `least` to `most` bytes; `what` names it in errors.
/// `not_found` when there is none; `configuration_invalid` for anything but such a file (a symbolic link, a FIFO, a
/// wider mode than 0600, another owner, another length); `io_error`.
[[nodiscard]] Result<crypto::SecretBytes> read_private_file(const std::filesystem::path& file, std::string_view what,
                                                            std::size_t least, std::size_t most);

}  // namespace cloister::kms
