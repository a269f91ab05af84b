#include "private_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace cloister::kms {
namespace {

class File {
 public:
  explicit File(int descriptor) noexcept : descriptor_{descriptor} {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

Result<crypto::SecretBytes> read_private_file(const std::filesystem::path& file, std::string_view what,
                                              std::size_t least, std::size_t most) {
  const auto named = std::string{what} + " " + file.string();
  const auto refuse = [&](const std::string& why) { return Error{Errc::configuration_invalid, named + ": " + why}; };
  const auto failed = [&](int error) {
    return Error{error == ENOENT ? Errc::not_found : Errc::io_error,
                 named + ": " + std::generic_category().message(error)};
  };
  // Not blocking, so that a FIFO in the file's place is refused and not waited for.
  const File in{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (in.get() < 0 && errno == ELOOP) return refuse("a file expected, got a symbolic link");
  if (in.get() < 0) return failed(errno);
  struct stat facts {};
  if (::fstat(in.get(), &facts) != 0) return failed(errno);
  if (!S_ISREG(facts.st_mode)) return refuse("a regular file expected");
  if (facts.st_uid != ::geteuid()) return refuse("a file of this user expected");
  if ((facts.st_mode & 07177U) != 0) return refuse("mode 0600 expected, or less");
  const auto size = static_cast<std::size_t>(facts.st_size);
  if (facts.st_size < 0 || size < least || size > most) {
    const auto lengths = least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most);
    return refuse(lengths + " bytes expected, got " + std::to_string(facts.st_size));
  }
  crypto::SecretBytes bytes{size};
  const auto got = ::read(in.get(), bytes.writable().data(), size);
  if (got != static_cast<ssize_t>(size)) return failed(got < 0 ? errno : EIO);
  return bytes;
}

}  // namespace cloister::kms
