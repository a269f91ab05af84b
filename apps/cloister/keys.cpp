#include "keys.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "cloister/core/random.hpp"
#include "files.hpp"

namespace cloister::cli {
namespace {

Error io_error(const std::filesystem::path& file) {
  return Error{Errc::io_error, file.string() + ": " + std::generic_category().message(errno)};
}

Result<void> make_secret(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(file, ignored))) return {};
  SystemRandom random;
  const auto secret = crypto::Secret<32>::random(random);
  return create_secret_file(file, secret.reveal());
}

}  // namespace

Result<crypto::Secret<32>> load_or_make_secret(const std::filesystem::path& file) {
  CLOISTER_CHECK(make_secret(file));
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return io_error(file);
  struct stat facts {};
  ByteArray<32> bytes{};
  const bool read = ::fstat(fd, &facts) == 0 && facts.st_size == 32 && ::read(fd, bytes.data(), 32) == 32;
  ::close(fd);
  if (!read) return Error{Errc::configuration_invalid, file.string() + ": 32 bytes expected; restore it from a copy, or remove it to begin anew"};
  if ((facts.st_mode & 077) != 0) {
    crypto::cleanse(bytes);
    return Error{Errc::configuration_invalid, file.string() + ": others may read it; chmod 600 it"};
  }
  return crypto::Secret<32>{bytes};
}

Result<crypto::Ed25519Key> load_or_make_hotkey(const std::filesystem::path& file) {
  CLOISTER_TRY(seed, load_or_make_secret(file));
  return crypto::Ed25519Key::from_seed(std::move(seed));
}

}  // namespace cloister::cli
