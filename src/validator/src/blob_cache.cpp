#include "blob_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::validator {

std::filesystem::path BlobCache::path_of(const Digest32& digest) const { return directory_ / codec::to_hex(digest); }

Result<std::optional<process::UniqueFd>> BlobCache::find(const Digest32& digest) const {
  const auto path = path_of(digest);
  std::error_code failure;
  if (!std::filesystem::exists(path, failure)) return std::optional<process::UniqueFd>{};
  std::ifstream in(path, std::ios::binary);
  const Bytes bytes(std::istreambuf_iterator<char>(in), {});
  if (crypto::sha256(bytes) != digest) return std::optional<process::UniqueFd>{};
  CLOISTER_TRY(file, process::open_file(path));
  return std::optional{std::move(file)};
}

Result<void> BlobCache::put(const Digest32& digest, ByteView bytes) const {
  if (crypto::sha256(bytes) != digest) {
    return Error{Errc::digest_mismatch, "blob " + codec::to_hex(digest) + " arrived with other contents"};
  }
  std::error_code failure;
  std::filesystem::create_directories(directory_, failure);
  const auto path = path_of(digest);
  auto temporary = path.string() + ".XXXXXX";
  const process::UniqueFd file{::mkostemp(temporary.data(), O_CLOEXEC)};
  if (!file.valid()) return process::errno_error(temporary);
  for (auto rest = bytes; !rest.empty();) {
    const auto n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      auto error = process::errno_error(temporary);
      ::unlink(temporary.c_str());
      return error;
    }
    rest = rest.subspan(static_cast<std::size_t>(n));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return process::errno_error(path.string());
  return {};
}

}  // namespace cloister::validator
