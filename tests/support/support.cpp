#include "support.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>

namespace cloister::test {

std::filesystem::path source_dir() {
  if (const char* dir = std::getenv("CLOISTER_SOURCE_DIR")) return dir;
  return CLOISTER_SOURCE_DIR;
}

std::optional<std::filesystem::path> vectors() {
  const char* named = std::getenv("CLOISTER_VECTORS");
  const auto folder = named != nullptr ? std::filesystem::path{named} : source_dir() / "../shared/vectors";
  std::error_code failure;
  if (!std::filesystem::is_directory(folder, failure)) return std::nullopt;
  return folder;
}

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) ADD_FAILURE() << "cannot read " << path;
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

std::string read_text(const std::filesystem::path& path) {
  const auto bytes = read_file(path);
  return std::string{as_text(bytes)};
}

TempDir::TempDir() {
  auto pattern = (std::filesystem::temp_directory_path() / "cloister-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void SeededRandom::fill(std::span<std::uint8_t> out) {
  // A test's thread may draw beside a server's. One lock for all of them keeps the generator copyable.
  static std::mutex drawing;
  const std::lock_guard lock{drawing};
  for (auto& byte : out) {
    state_ += 0x9E3779B97F4A7C15ULL;
    auto z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    byte = static_cast<std::uint8_t>(z ^ (z >> 31));
  }
}

}  // namespace cloister::test
