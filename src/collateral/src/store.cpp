#include "cloister/collateral/store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <tuple>

namespace cloister::collateral {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".entry";

Error failed(const fs::path& path) { return Error{Errc::io_error, path.string() + ": " + std::strerror(errno)}; }

/// Closes at the end.
class File {
 public:
  explicit File(int fd) noexcept : fd_{fd} {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }

  /// Everything, and on disk.
  [[nodiscard]] bool write(std::string_view text) const noexcept {
    while (!text.empty()) {
      const auto done = ::write(fd_, text.data(), text.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return false;
      text.remove_prefix(static_cast<std::size_t>(done));
    }
    return sync();
  }
  [[nodiscard]] bool sync() const noexcept { return ::fsync(fd_) == 0; }

 private:
  int fd_;
};

/// A name that no other writer uses, of this process or another.
fs::path draft_of(const fs::path& file) {
  static std::atomic<unsigned> count{0};
  return file.parent_path() / ('.' + file.filename().string() + '.' + std::to_string(::getpid()) + '.' + std::to_string(++count));
}

Result<void> replace(const fs::path& file, std::string_view text) {
  const auto draft = draft_of(file);
  const File out{::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!out.valid()) return failed(draft);
  if (!out.write(text) || ::rename(draft.c_str(), file.c_str()) != 0) {
    const auto error = failed(file);
    ::unlink(draft.c_str());
    return error;
  }
  const File folder{::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!folder.valid() || !folder.sync()) return failed(file.parent_path());
  return {};
}

/// Nothing when there is no such file.
Result<std::optional<std::string>> read(const fs::path& file) {
  std::error_code failure;
  const auto size = fs::file_size(file, failure);
  if (failure == std::errc::no_such_file_or_directory) return std::optional<std::string>{};
  if (failure) return Error{Errc::io_error, file.string() + ": " + failure.message()};
  if (size > kMaxEntrySize) return Error{Errc::limit_exceeded, file.string() + ": larger than 24 MiB"};
  std::ifstream in(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad() || !in.is_open()) return Error{Errc::io_error, file.string() + ": cannot be read"};
  return std::optional{std::move(text)};
}

Result<std::vector<fs::path>> entry_files(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code failure;
  for (fs::directory_iterator at{folder, failure}, end; !failure && at != end; at.increment(failure)) {
    const auto name = at->path().filename().string();
    if (name.ends_with(kSuffix) && !name.starts_with('.')) out.push_back(at->path());
  }
  if (failure) return Error{Errc::io_error, folder.string() + ": " + failure.message()};
  std::ranges::sort(out);
  return out;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(fs::path folder, StoreLimits limits) {
  constexpr mode_t kOthersWrite = 022;
  if (folder.empty()) return Error{Errc::configuration_invalid, "a folder for the cache expected"};
  std::error_code failure;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), failure);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return failed(folder);
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return failed(folder);
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & kOthersWrite) != 0) {
    return Error{Errc::configuration_invalid, folder.string() + ": a folder of this user that no other may write to expected"};
  }
  return std::unique_ptr<Store>{new Store{std::move(folder), limits}};
}

/// Keys have no '.', so that no two become one name.
fs::path Store::file_of(const Key& key) const {
  auto name = to_string(key);
  std::ranges::replace(name, '/', '.');
  return folder_ / (name + std::string{kSuffix});
}

Result<std::optional<Entry>> Store::find(const Key& key) const {
  const auto file = file_of(key);
  CLOISTER_TRY(text, read(file));
  if (!text) return std::optional<Entry>{};
  auto entry = parse_entry(*text);
  if (!entry) return entry.error().in(file.string());
  if (entry->document.key != key) return Error{Errc::collateral_mismatch, file.string() + ": holds another document than its name says"};
  return std::optional{std::move(entry).value()};
}

Result<void> Store::make_room(const fs::path& file, std::uintmax_t size, UnixTime now) const {
  CLOISTER_TRY(files, entry_files(folder_));
  std::erase(files, file);  // is replaced
  std::vector<std::uintmax_t> sizes;
  auto total = size;
  for (const auto& one : files) {
    std::error_code gone;
    const auto bytes = fs::file_size(one, gone);
    sizes.push_back(gone ? 0 : bytes);
    total += sizes.back();
  }
  auto count = files.size() + 1;
  if (count <= limits_.entries && total <= limits_.bytes) return {};

  struct Candidate {
    std::tuple<int, UnixTime> order;  // what goes first is smallest
    const fs::path* file;
    std::uintmax_t size;
  };
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto text = read(files[i]);
    const auto entry = text && *text ? parse_entry(**text) : Result<Entry>{Error{Errc::not_found}};
    const bool over = !entry || entry->document.expires <= now;
    const int rank = over ? 0 : is_permanent(entry->document.key) ? 2 : 1;
    candidates.push_back({{rank, entry ? entry->fetched : UnixTime{}}, &files[i], sizes[i]});
  }
  std::ranges::sort(candidates, {}, &Candidate::order);
  for (const auto& candidate : candidates) {
    if (count <= limits_.entries && total <= limits_.bytes) break;
    if (::unlink(candidate.file->c_str()) != 0 && errno != ENOENT) return failed(*candidate.file);
    total -= candidate.size;
    --count;
  }
  return {};
}

Result<void> Store::put(const Entry& entry, UnixTime now) {
  const auto text = write_entry(entry);
  if (text.size() > kMaxEntrySize || text.size() > limits_.bytes) {
    return Error{Errc::limit_exceeded, to_string(entry.document.key) + ": larger than the cache may be"};
  }
  const auto file = file_of(entry.document.key);
  const std::lock_guard lock{writing_};
  CLOISTER_CHECK(make_room(file, text.size(), now));
  return replace(file, text);
}

Result<std::vector<Store::Listed>> Store::list() const {
  CLOISTER_TRY(files, entry_files(folder_));
  std::vector<Listed> out;
  for (auto& file : files) {
    auto text = read(file);
    if (text && !*text) continue;  // gone meanwhile
    auto entry = text ? parse_entry(**text) : Result<Entry>{text.error()};
    out.push_back({std::move(file), std::move(entry)});
  }
  return out;
}

}  // namespace cloister::collateral
