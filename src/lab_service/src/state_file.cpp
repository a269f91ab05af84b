#include "state_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cloister/codec/text.hpp"
#include "cloister/process/descriptor.hpp"

namespace cloister::lab_service {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMaxFile = 64 << 10;
constexpr mode_t kOthers = 077;

Error bad(const fs::path& path, std::string_view why) {
  return Error{Errc::configuration_invalid, path.string() + ": " + std::string{why}};
}
Error failed(const fs::path& path) { return Error{Errc::io_error, path.string() + ": " + std::strerror(errno)}; }

Result<bool> is_there(const fs::path& path) {
  std::error_code failure;
  const bool there = fs::exists(path, failure);
  if (failure) return Error{Errc::io_error, path.string() + ": " + failure.message()};
  return there;
}

Result<crypto::SecretBytes> read_private(const fs::path& path) {
  const process::UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (fd.get() < 0) return failed(path);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return failed(path);
  if (!S_ISREG(status.st_mode)) return bad(path, "a regular file expected");
  if ((status.st_mode & kOthers) != 0) return bad(path, "others may touch it; mode 0600 expected");
  if (status.st_size < 0 || static_cast<std::size_t>(status.st_size) > kMaxFile)
    return bad(path, "longer than expected");
  crypto::SecretBytes out{static_cast<std::size_t>(status.st_size)};
  std::size_t have = 0;
  while (have < out.size()) {
    const auto got = ::read(fd.get(), out.writable().data() + have, out.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return failed(path);
    have += static_cast<std::size_t>(got);
  }
  return out;
}

/// Made only where nothing is yet.
Result<void> write_private(const fs::path& path, ByteView bytes) {
  const process::UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (fd.get() < 0) return failed(path);
  while (!bytes.empty()) {
    const auto done = ::write(fd.get(), bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return failed(path);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  if (::fsync(fd.get()) != 0) return failed(path);
  return {};
}

Result<crypto::Secret<32>> open_seed(const fs::path& path, Random& random) {
  CLOISTER_TRY(made, is_there(path));
  if (!made) {
    auto seed = crypto::Secret<32>::random(random);
    CLOISTER_CHECK(write_private(path, seed.reveal()));
    return seed;
  }
  CLOISTER_TRY(bytes, read_private(path));
  if (bytes.size() == 32) return crypto::Secret<32>::copy_of(bytes.reveal());
  auto text = as_text(bytes.reveal());
  while (text.ends_with('\n')) text.remove_suffix(1);
  auto seed = codec::array_from_hex<32>(text);
  if (!seed) return bad(path, "32 bytes, or 64 hex digits expected");
  return crypto::Secret<32>{*seed};
}

Result<lab_snp::AuthorityKeys> open_keys(const fs::path& path, unsigned bits) {
  CLOISTER_TRY(made, is_there(path));
  if (!made) {
    auto keys = lab_snp::AuthorityKeys::generate(bits);
    CLOISTER_CHECK(write_private(path, lab_snp::write_authority_keys(keys).reveal()));
    return keys;
  }
  CLOISTER_TRY(bytes, read_private(path));
  auto keys = lab_snp::parse_authority_keys(as_text(bytes.reveal()));
  if (!keys) return bad(path, keys.error().detail());
  return keys;
}

}  // namespace

Result<LabState> open_state(const fs::path& file, Random& random, unsigned bits) {
  CLOISTER_TRY(seed, open_seed(file, random));
  CLOISTER_TRY(keys, open_keys(file.native() + ".amd-keys.pem", bits));
  return LabState{std::move(seed), std::move(keys)};
}

}  // namespace cloister::lab_service
