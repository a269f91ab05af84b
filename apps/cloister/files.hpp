#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/policy/trust_file.hpp"

namespace cloister::cli {

/// The whole file; `io_error` with the reason, `limit_exceeded` above `max` bytes.
[[nodiscard]] Result<Bytes> read_file(const std::filesystem::path& path, std::size_t max);

/// Who may read a file that is written.
enum class Readers { owner, everyone };
/// Puts `text` in the file's place: a reader finds the old content or the new, also after a crash. `Readers::owner` is
/// mode 0600, also where the file was there with another; `everyone` leaves it to the umask. A path that is no regular
/// file (a pipe, a terminal) is written to as it stands. `io_error`.
[[nodiscard]] Result<void> write_file(const std::filesystem::path& path, std::string_view text, Readers readers);
/// Makes the file with mode 0600 and these contents, unless it is there: then it stays as it is. It is never there
/// with a part of them. On disk when this returns. `io_error`.
[[nodiscard]] Result<void> create_secret_file(const std::filesystem::path& path, ByteView bytes);

/// The user's own trust file: $XDG_CONFIG_HOME/cloister/trust.json, else ~/.config/cloister/trust.json; nothing when
/// there is none.
[[nodiscard]] std::optional<std::filesystem::path> default_trust_file();

/// `given`, else the user's own, else an empty one (only the vendors' roots hold then).
[[nodiscard]] Result<policy::TrustFile> load_trust_file(const std::optional<std::filesystem::path>& given);

}  // namespace cloister::cli
