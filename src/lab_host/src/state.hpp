#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/lab/tcb_story.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::lab_host {

/// The platform's directory, locked, and the platform that its seed makes.
struct State {
  process::UniqueFd lock;
  lab::Platform platform;
  std::string root_pem;
};

inline constexpr std::chrono::hours kCollateralAge{24 * 7};  // of the 30 days that it is good for
inline constexpr std::string_view kSeedFile = "seed";
inline constexpr std::string_view kRootFile = "root.pem";
inline constexpr std::string_view kCollateralFile = "collateral.json";
inline constexpr std::string_view kStoryFile = "tcb.json";
inline constexpr std::string_view kStoryLock = "tcb.lock";
inline constexpr std::string_view kControlSocket = "control.sock";
inline constexpr std::string_view kScratchFolder = "td";

[[nodiscard]] Result<State> open_state(const std::filesystem::path& directory, const Clock& clock, Random& random);

/// The platform of a directory, whether it runs or not, as its story left it. `not_found` where there is none.
struct Opened {
  lab::Platform platform;
  lab::TcbStory story;
};
[[nodiscard]] Result<Opened> open_platform(const std::filesystem::path& directory);

/// The lock that makes a process the platform of the directory; `conflict` while another one is.
[[nodiscard]] Result<process::UniqueFd> take_platform_lock(const std::filesystem::path& directory);
/// Waits for the lock under which story and collateral change together.
[[nodiscard]] Result<process::UniqueFd> take_story_lock(const std::filesystem::path& directory);
/// The story of the directory; one without acts where there is no file.
[[nodiscard]] Result<lab::TcbStory> read_story(const std::filesystem::path& directory, UnixTime created);
[[nodiscard]] lab::Platform::Options options_of(const lab::TcbStory& story);
/// By the lab's clock.
[[nodiscard]] UnixTime lab_time(const lab::TcbStory& story, const Clock& clock);
/// What the platform's authorities hand out at this time (of the lab's clock), written to the directory and returned.
[[nodiscard]] Result<std::string> issue_collateral(const std::filesystem::path& directory,
                                                   const lab::Platform& platform, const lab::TcbStory& story,
                                                   UnixTime now);

/// The seed of the platform in this directory, which is made where it is not there. `conflict` while a platform that is
/// starting makes it, else as `open_state`.
[[nodiscard]] Result<crypto::Secret<32>> open_seed(const std::filesystem::path& directory, Random& random);

/// Whether there is such a file; `io_error` where that cannot be told.
[[nodiscard]] Result<bool> is_there(const std::filesystem::path& path);
/// Makes the directory, or sees that it is this user's and that no other may write to it.
[[nodiscard]] Result<void> secure_directory(const std::filesystem::path& directory);
/// The whole file of at most `max` bytes; `configuration_invalid` for a longer one.
[[nodiscard]] Result<Bytes> read_small(const std::filesystem::path& path, std::size_t max);
/// The same of a file that nobody else may read.
[[nodiscard]] Result<Bytes> read_secret(const std::filesystem::path& path, std::size_t max);

/// Replaces the file whole or not at all, and only once the new contents are on disk.
[[nodiscard]] Result<void> replace_file(const std::filesystem::path& path, ByteView contents, unsigned mode);

}  // namespace cloister::lab_host
