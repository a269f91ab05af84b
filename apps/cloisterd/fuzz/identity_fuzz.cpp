// The file of a server's wrapped keys, as somebody may have left it in the data directory: what is not the one that was wrapped here
// gives no keys.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "cloister/kms/software.hpp"
#include "cloister/storage/files.hpp"
#include "keys.hpp"

namespace {

/// A directory of this process's own, which goes with it.
struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("cloister-identity-" + std::to_string(::getpid()));
  Directory() { std::filesystem::create_directory(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  static SystemRandom random;
  static const kms::SoftwareKms kms{crypto::Secret<32>{ByteArray<32>{9}}, random};
  static const Directory directory;
  static const auto file = directory.path / server::kIdentityFile;
  static const auto derived = server::load_keys(kms, directory.path).value();
  static const auto genuine = server::wrap_keys(kms, derived).value();
  const ByteView input{data, size};
  for (const auto& content : {ByteView{genuine}, input}) {
    if (!storage::replace_file(file, content)) std::abort();
    const auto keys = server::load_keys(kms, directory.path);
    if (keys.ok() != same_bytes(content, genuine)) std::abort();
    if (keys && keys->server_id != derived.server_id) std::abort();
    if (!keys && keys.error().code() != Errc::configuration_invalid && keys.error().code() != Errc::limit_exceeded) std::abort();
  }
  return 0;
}
