#include "files.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace cloister::cli {

namespace fs = std::filesystem;

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
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  fs::path base;
  if (config != nullptr && *config == '/') {
    base = config;
  } else if (home != nullptr && *home == '/') {
    base = fs::path{home} / ".config";
  } else {
    return std::nullopt;
  }
  const auto file = base / "cloister" / "trust.json";
  std::error_code failure;
  return fs::exists(file, failure) ? std::optional{file} : std::nullopt;
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
