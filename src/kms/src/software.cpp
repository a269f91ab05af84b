#include "cloister/kms/software.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/core/ids.hpp"
#include "cloister/crypto/aead.hpp"
#include "cloister/crypto/hash.hpp"
#include "private_file.hpp"

namespace cloister::kms {
namespace {

constexpr std::size_t kKeySize = 32;
constexpr std::string_view kDomain = "cloister/kms/1";
constexpr std::string_view kWrap = "wrap";
constexpr std::string_view kSeal = "seal";

class File {
 public:
  explicit File(int descriptor) noexcept : descriptor_{descriptor} {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] bool ok() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

Error io_failure(const std::filesystem::path& path, int error) {
  return Error{Errc::io_error, path.string() + ": " + std::generic_category().message(error)};
}

/// Removes a file at the end of its scope.
class Temporary {
 public:
  explicit Temporary(std::filesystem::path path) : path_{std::move(path)} {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// Writes a new key beside `file` and links it into place, so that the name only ever shows a whole key; the key of
/// whoever came first stays.
Result<void> create(const std::filesystem::path& file, Random& random) {
  const Temporary temporary{file.string() + "." + codec::to_hex(random.array<8>()) + ".tmp"};
  const File out{::open(temporary.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!out.ok()) return io_failure(temporary.path(), errno);
  const auto key = crypto::Secret<kKeySize>::random(random);
  if (::write(out.get(), key.reveal().data(), kKeySize) != static_cast<ssize_t>(kKeySize) || ::fsync(out.get()) != 0) {
    return io_failure(temporary.path(), errno);
  }
  if (::link(temporary.path().c_str(), file.c_str()) != 0 && errno != EEXIST) return io_failure(file, errno);
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path{"."};
  const File directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory.ok() || ::fsync(directory.get()) != 0) return io_failure(folder, errno);
  return {};
}

Bytes key_info(std::string_view use, ByteView salt) {
  return codec::cbor::Writer{}.array(3).text(kDomain).text(use).bytes(salt).take();
}

Bytes put_in(const crypto::Secret<32>& master, Random& random, std::string_view use, ByteView associated,
             ByteView plaintext) {
  const auto salt = random.array<32>();
  const auto key = crypto::hkdf_expand(master.reveal(), key_info(use, salt), kKeySize);
  const auto ciphertext = crypto::chacha20poly1305_seal(key.reveal(), crypto::Nonce{}, associated, plaintext);
  return codec::cbor::Writer{}.array(4).text(kDomain).text(use).bytes(salt).bytes(ciphertext).take();
}

Result<crypto::SecretBytes> take_out(const crypto::Secret<32>& master, std::string_view use, ByteView associated,
                                     ByteView sealed) {
  codec::cbor::Reader in{sealed};
  in.array(4);
  in.domain(kDomain);
  in.domain(use);
  const auto salt = in.bytes<32>();
  const auto ciphertext = in.bytes();
  if (const auto read = in.finish(); !read) return Error{Errc::decryption_failed, read.error().text()};
  const auto key = crypto::hkdf_expand(master.reveal(), key_info(use, salt), kKeySize);
  return crypto::chacha20poly1305_open(key.reveal(), crypto::Nonce{}, associated, ciphertext);
}

crypto::Secret<32> expand(const crypto::Secret<32>& master, std::string_view use, ByteView info) {
  return crypto::Secret<32>::copy_of(crypto::hkdf_expand(master.reveal(), key_info(use, info), kKeySize).reveal());
}

Result<crypto::Ed25519Key> signing_key(const crypto::Secret<32>& master, std::string_view name) {
  if (!valid_id(name)) return Error{Errc::invalid_argument, "name of a signing key: an id expected"};
  return crypto::Ed25519Key::from_seed(expand(master, "sign", as_bytes(name)));
}

}  // namespace

Result<std::unique_ptr<SoftwareKms>> SoftwareKms::open(const std::filesystem::path& file, Random& random) {
  const auto read = [&] { return read_private_file(file, "master key", kKeySize, kKeySize); };
  auto master = read();
  if (!master && master.error().code() == Errc::not_found) {
    CLOISTER_CHECK(create(file, random));
    master = read();
  }
  if (!master) return std::move(master).error();
  return std::make_unique<SoftwareKms>(crypto::Secret<32>::copy_of(master->reveal()), random);
}

Result<crypto::Secret<32>> SoftwareKms::derive(ByteView info) const { return expand(master_, "derive", info); }

Result<Bytes> SoftwareKms::wrap(const crypto::Secret<32>& key, ByteView associated) const {
  return put_in(master_, random_, kWrap, associated, key.reveal());
}

Result<crypto::Secret<32>> SoftwareKms::unwrap(ByteView wrapped, ByteView associated) const {
  CLOISTER_TRY(key, take_out(master_, kWrap, associated, wrapped));
  if (key.size() != kKeySize) return Error{Errc::decryption_failed, "a wrapped key of 32 bytes expected"};
  return crypto::Secret<32>::copy_of(key.reveal());
}

Result<Bytes> SoftwareKms::seal(ByteView associated, ByteView plaintext) const {
  if (plaintext.size() > kMaxSealed) {
    return Error{Errc::limit_exceeded, "at most " + std::to_string(kMaxSealed) + " bytes can be sealed by the Kms"};
  }
  return put_in(master_, random_, kSeal, associated, plaintext);
}

Result<crypto::SecretBytes> SoftwareKms::open(ByteView associated, ByteView sealed) const {
  return take_out(master_, kSeal, associated, sealed);
}

Result<crypto::Ed25519Public> SoftwareKms::public_key(std::string_view name) const {
  CLOISTER_TRY(key, signing_key(master_, name));
  return key.public_key();
}

Result<crypto::Ed25519Signature> SoftwareKms::sign(std::string_view name, ByteView message) const {
  CLOISTER_TRY(key, signing_key(master_, name));
  return key.sign(message);
}

}  // namespace cloister::kms
