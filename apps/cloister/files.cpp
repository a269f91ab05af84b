#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "cloister/core/ids.hpp"
#include "cloister/core/random.hpp"
#include "cloister/process/descriptor.hpp"
#include "profile.hpp"

namespace cloister::cli {

namespace fs = std::filesystem;

namespace {

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path{"."}; }

Result<void> write_all(int fd, ByteView bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const auto wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return process::errno_error(path.string());
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

/// A complete file beside the one that it is for; its own name goes with this object.
class Draft {
 public:
  static Result<Draft> write(const fs::path& target, ByteView bytes, mode_t mode) {
    SystemRandom random;
    Draft draft{folder_of(target) / ("." + target.filename().string() + random_id("", random))};
    const process::UniqueFd fd{::open(draft.path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (!fd.valid()) return process::errno_error(target.string());
    CLOISTER_CHECK(write_all(fd.get(), bytes, target));
    if (::fsync(fd.get()) != 0) return process::errno_error(target.string());
    return draft;
  }
  Draft(Draft&& other) noexcept : path_{std::exchange(other.path_, {})} {}
  Draft& operator=(Draft&&) = delete;
  ~Draft() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  explicit Draft(fs::path path) : path_{std::move(path)} {}
  fs::path path_;
};

/// Makes the names in a directory durable.
Result<void> sync_folder(const fs::path& folder) {
  const process::UniqueFd fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd.valid() || ::fsync(fd.get()) != 0) return process::errno_error(folder.string());
  return {};
}

}  // namespace

Result<void> write_file(const fs::path& path, std::string_view text, Readers readers) {
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    const process::UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    if (!fd.valid()) return process::errno_error(path.string());
    return write_all(fd.get(), as_bytes(text), path);
  }
  CLOISTER_TRY(draft, Draft::write(path, as_bytes(text), readers == Readers::owner ? 0600 : 0666));
  if (::rename(draft.path().c_str(), path.c_str()) != 0) return process::errno_error(path.string());
  return sync_folder(folder_of(path));
}

Result<void> create_secret_file(const fs::path& path, ByteView bytes) {
  CLOISTER_TRY(draft, Draft::write(path, bytes, 0600));
  if (::link(draft.path().c_str(), path.c_str()) != 0 && errno != EEXIST) return process::errno_error(path.string());
  return sync_folder(folder_of(path));
}

Result<Bytes> read_file(const fs::path& path, std::size_t max) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return Error{Errc::io_error, path.string() + ": is a directory"};
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error{Errc::io_error, path.string() + ": " + std::strerror(errno)};
  Bytes out(max + 1);
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));  // bytes as the stream has them
  if (in.bad()) return Error{Errc::io_error, path.string() + ": cannot be read"};
  out.resize(static_cast<std::size_t>(in.gcount()));
  if (out.size() > max) return Error{Errc::limit_exceeded, path.string() + ": larger than " + std::to_string(max) + " bytes"};
  return out;
}

std::optional<fs::path> default_trust_file() {
  const auto folder = configuration_folder();
  std::error_code failure;
  return folder && fs::exists(*folder / "trust.json", failure) ? std::optional{*folder / "trust.json"} : std::nullopt;
}

Result<policy::TrustFile> load_trust_file(const std::optional<fs::path>& given) {
  const auto path = given ? given : default_trust_file();
  if (!path) return policy::TrustFile{};
  CLOISTER_TRY(text, read_file(*path, policy::kMaxTrustFileSize));
  auto trust = policy::parse_trust_file(as_text(text));
  if (!trust) return trust.error().in(path->string());
  return trust;
}

}  // namespace cloister::cli
