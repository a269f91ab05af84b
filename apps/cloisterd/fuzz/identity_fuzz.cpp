// The file of a server's wrapped keys, as somebody may have left it in the data directory: what is not the one that was wrapped here
// gives no keys.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "cloister/kms/software.hpp"
#include "cloister/storage/files.hpp"
#include "keys.hpp"

namespace {

/// Not random: the file below must be the same in every run.
class Counter final : public cloister::Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = ++state_;
  }

 private:
  std::uint8_t state_ = 0;
};

/// A directory of its own, which goes with the process.
class Directory {
 public:
  Directory() {
    if (::mkdtemp(path_) == nullptr) std::abort();
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::filesystem::path path() const { return path_; }

 private:
  char path_[32] = "/tmp/cloister-identity-XXXXXX";
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloister;
  static Counter random;
  static const kms::SoftwareKms kms{crypto::Secret<32>{ByteArray<32>{9}}, random};
  static const Directory directory;
  static const auto derived = server::load_keys(kms, directory.path()).value();
  static const auto genuine = server::wrap_keys(kms, derived).value();
  const ByteView input{data, size};
  if (!storage::replace_file(directory.path() / server::kIdentityFile, input)) std::abort();
  const auto keys = server::load_keys(kms, directory.path());
  if (keys.ok() != same_bytes(input, genuine)) std::abort();
  if (keys && keys->server_id != derived.server_id) std::abort();
  if (!keys && keys.error().code() != Errc::configuration_invalid && keys.error().code() != Errc::limit_exceeded) std::abort();
  return 0;
}
