#include "state.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cloister/codec/text.hpp"
#include "cloister/evidence/collateral.hpp"

namespace cloister::lab_host {
namespace {

namespace fs = std::filesystem;
using process::errno_error;
using process::UniqueFd;

constexpr std::size_t kSeedSize = 32;
constexpr std::size_t kMaxRootSize = 64U << 10;
constexpr mode_t kOthers = 077;

Result<crypto::Secret<32>> read_seed(const fs::path& path) {
  CLOISTER_TRY(bytes, read_secret(path, kSeedSize));
  if (bytes.size() != kSeedSize) return Error{Errc::configuration_invalid, path.string() + ": 32 bytes expected"};
  auto seed = crypto::Secret<32>::copy_of(bytes);
  crypto::cleanse(bytes);
  return seed;
}

Result<crypto::Secret<32>> make_seed(const fs::path& path, Random& random) {
  auto seed = crypto::Secret<32>::random(random);
  CLOISTER_CHECK(replace_file(path, seed.reveal(), 0600));
  return seed;
}

/// A directory without a root has shown its platform to nobody: it is made new, under the seed if there is one.
Result<lab::Platform> make_platform(const fs::path& directory, const Clock& clock, Random& random) {
  const auto seed_path = directory / kSeedFile;
  CLOISTER_TRY(seeded, is_there(seed_path));
  CLOISTER_TRY(seed, seeded ? read_seed(seed_path) : make_seed(seed_path, random));
  auto platform = lab::Platform::create(std::move(seed), clock.now());
  const auto pem = codec::to_pem("CERTIFICATE", platform.root());
  CLOISTER_CHECK(replace_file(directory / kRootFile, as_bytes(pem), 0644));
  return platform;
}

Result<lab::Platform> read_platform(const fs::path& directory) {
  const auto root_path = directory / kRootFile;
  CLOISTER_TRY(seeded, is_there(directory / kSeedFile));
  if (!seeded) {
    return Error{Errc::configuration_invalid, root_path.string() + " is there, and the seed is not"};
  }
  CLOISTER_TRY(seed, read_seed(directory / kSeedFile));
  CLOISTER_TRY(pem, read_small(root_path, kMaxRootSize));
  CLOISTER_TRY(blocks, codec::parse_pem(as_text(pem)));
  if (blocks.size() != 1) return Error{Errc::configuration_invalid, root_path.string() + ": one certificate expected"};
  auto platform = lab::Platform::open(std::move(seed), blocks.front().der);
  if (!platform) return Error{Errc::configuration_invalid, root_path.string() + ": " + platform.error().text()};
  return platform;
}

/// As its story left it.
Result<Opened> with_story(const fs::path& directory, const lab::Platform& platform) {
  CLOISTER_TRY(story, read_story(directory, platform.created()));
  auto options = options_of(story);
  return Opened{platform.with(std::move(options)), std::move(story)};
}

}  // namespace

Result<UniqueFd> take_platform_lock(const fs::path& directory) {
  UniqueFd lock{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!lock.valid()) return errno_error("open " + directory.string());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error{Errc::conflict, directory.string() + ": another platform runs here"};
  }
  return lock;
}

Result<UniqueFd> take_story_lock(const fs::path& directory) {
  const auto path = directory / kStoryLock;
  UniqueFd lock{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!lock.valid()) return errno_error("open " + path.string());
  if (::flock(lock.get(), LOCK_EX) != 0) return errno_error("lock " + path.string());
  return lock;
}

Result<lab::TcbStory> read_story(const fs::path& directory, UnixTime created) {
  const auto path = directory / kStoryFile;
  CLOISTER_TRY(written, is_there(path));
  if (!written) return lab::TcbStory{created};
  CLOISTER_TRY(text, read_small(path, lab::TcbStory::kMaxSize));
  auto story = lab::read_tcb_story(created, as_text(text));
  if (!story) return story.error().in(path.string());
  return story;
}

lab::Platform::Options options_of(const lab::TcbStory& story) {
  const auto& offered = story.offered();
  return {.tcb = lab::TcbState{story.machine(), offered.published}, .revoked_pcks = offered.revoked_pcks};
}

UnixTime lab_time(const lab::TcbStory& story, const Clock& clock) { return clock.now() + story.clock_offset; }

Result<std::string> issue_collateral(const fs::path& directory, const lab::Platform& platform,
                                     const lab::TcbStory& story, UnixTime now) {
  const auto issued = std::min(now, story.withheld_since().value_or(now));
  auto text = evidence::write_quote_collateral(platform.with(options_of(story)).collateral(issued));
  CLOISTER_CHECK(replace_file(directory / kCollateralFile, as_bytes(text), 0644));
  return text;
}

Result<Opened> open_platform(const fs::path& directory) {
  CLOISTER_TRY(started, is_there(directory / kRootFile));
  if (!started) {
    return Error{Errc::not_found, directory.string() + ": no platform was started here"};
  }
  CLOISTER_TRY(platform, read_platform(directory));
  return with_story(directory, platform);
}

Result<bool> is_there(const fs::path& path) {
  std::error_code failed;
  const bool there = fs::exists(path, failed);
  if (failed) return Error{Errc::io_error, path.string() + ": " + failed.message()};
  return there;
}

Result<void> secure_directory(const fs::path& directory) {
  std::error_code failed;
  if (directory.has_parent_path()) fs::create_directories(directory.parent_path(), failed);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return errno_error("create " + directory.string());
  struct stat status {};
  if (::lstat(directory.c_str(), &status) != 0) return errno_error(directory.string());
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 022) != 0) {
    return Error{Errc::configuration_invalid,
                 directory.string() + ": a directory of this user that no other may write to expected"};
  }
  return {};
}

Result<Bytes> read_small(const fs::path& path, std::size_t max) {
  CLOISTER_TRY(fd, process::open_file(path));
  Bytes out(max + 1);
  std::size_t have = 0;
  while (have < out.size()) {
    const auto got = ::read(fd.get(), out.data() + have, out.size() - have);
    if (got < 0) return errno_error("read " + path.string());
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have > max) return Error{Errc::configuration_invalid, path.string() + ": longer than expected"};
  out.resize(have);
  return out;
}

Result<Bytes> read_secret(const fs::path& path, std::size_t max) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return errno_error(path.string());
  if ((status.st_mode & kOthers) != 0) {
    return Error{Errc::configuration_invalid, path.string() + ": others may read it; mode 0600 expected"};
  }
  return read_small(path, max);
}

Result<void> replace_file(const fs::path& path, ByteView contents, unsigned mode) {
  const fs::path fresh = path.native() + ".new";
  ::unlink(fresh.c_str());
  const UniqueFd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)};
  if (!fd.valid()) return errno_error("create " + fresh.string());
  for (auto rest = contents; !rest.empty();) {
    const auto written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0) return errno_error("write " + fresh.string());
    rest = rest.subspan(static_cast<std::size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return errno_error("fsync " + fresh.string());
  if (::rename(fresh.c_str(), path.c_str()) != 0) return errno_error("rename " + fresh.string());
  return {};
}

Result<crypto::Secret<32>> open_seed(const fs::path& directory, Random& random) {
  CLOISTER_CHECK(secure_directory(directory));
  const auto path = directory / kSeedFile;
  CLOISTER_TRY(made, is_there(path));
  if (made) return read_seed(path);
  CLOISTER_TRY(lock, take_platform_lock(directory));
  CLOISTER_TRY(made_meanwhile, is_there(path));
  return made_meanwhile ? read_seed(path) : make_seed(path, random);
}

Result<State> open_state(const fs::path& directory, const Clock& clock, Random& random) {
  CLOISTER_CHECK(secure_directory(directory));
  CLOISTER_TRY(lock, take_platform_lock(directory));
  CLOISTER_TRY(started, is_there(directory / kRootFile));
  CLOISTER_TRY(made, started ? read_platform(directory) : make_platform(directory, clock, random));
  CLOISTER_TRY(opened, with_story(directory, made));
  auto root_pem = codec::to_pem("CERTIFICATE", made.root());
  return State{.lock = std::move(lock), .platform = std::move(opened.platform), .root_pem = std::move(root_pem)};
}

}  // namespace cloister::lab_host
