#include "cloister/lab_host/snp_state.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "state.hpp"

namespace cloister::lab_host {
namespace {

namespace fs = std::filesystem;
using evidence::SnpProduct;
using process::errno_error;
using process::UniqueFd;

constexpr std::string_view kFolder = "snp";
constexpr std::string_view kKeysFile = "authority.pem";  // written last: where it is, the folder is whole
constexpr std::string_view kCreatedFile = "created";     // when the certificates begin, RFC 3339
constexpr std::size_t kMaxKeysSize = 64U << 10;
constexpr std::size_t kMaxCreatedSize = 64;

/// Waits while another process makes the keys.
Result<UniqueFd> wait_for_lock(const fs::path& folder) {
  UniqueFd lock{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!lock.valid()) return errno_error("open " + folder.string());
  if (::flock(lock.get(), LOCK_EX) != 0) return errno_error("lock " + folder.string());
  return lock;
}

struct Kept {
  lab_snp::AuthorityKeys keys;
  UnixTime created;
};

Result<Kept> read(const fs::path& folder) {
  CLOISTER_TRY(pem, read_secret(folder / kKeysFile, kMaxKeysSize));
  auto keys = lab_snp::parse_authority_keys(as_text(pem));
  crypto::cleanse(pem);
  if (!keys) return Error{Errc::configuration_invalid, (folder / kKeysFile).string() + ": " + keys.error().detail()};
  CLOISTER_TRY(text, read_small(folder / kCreatedFile, kMaxCreatedSize));
  const auto created = parse_rfc3339(as_text(text));
  if (!created) return Error{Errc::configuration_invalid, (folder / kCreatedFile).string() + ": " + created.error().detail()};
  return Kept{std::move(*keys), *created};
}

Result<Kept> make(const fs::path& folder, const Clock& clock) {
  Kept out{lab_snp::AuthorityKeys::generate(), std::chrono::floor<std::chrono::seconds>(clock.now())};
  CLOISTER_CHECK(replace_file(folder / kCreatedFile, as_bytes(to_rfc3339(out.created)), 0600));
  CLOISTER_CHECK(replace_file(folder / kKeysFile, lab_snp::write_authority_keys(out.keys).reveal(), 0600));
  return out;
}

std::string root_file(SnpProduct product) {
  std::string name{evidence::to_string(product)};
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  return "ark-" + name + ".pem";
}

/// Signatures differ each time, names and keys do not: the first certificates stay.
Result<void> show_roots(const fs::path& folder, const lab_snp::Authority& authority) {
  for (const auto product : {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin}) {
    const auto file = folder / root_file(product);
    CLOISTER_TRY(shown, is_there(file));
    if (shown) continue;
    CLOISTER_CHECK(replace_file(file, as_bytes(codec::to_pem("CERTIFICATE", authority.root(product)->der)), 0644));
  }
  return {};
}

}  // namespace

Result<lab_snp::Authority> open_snp_authority(const fs::path& state, const Clock& clock, Random& random) {
  CLOISTER_TRY(seed, open_seed(state, random));
  const auto folder = state / kFolder;
  CLOISTER_CHECK(secure_directory(folder));
  CLOISTER_TRY(lock, wait_for_lock(folder));
  CLOISTER_TRY(made, is_there(folder / kKeysFile));
  CLOISTER_TRY(kept, made ? read(folder) : make(folder, clock));
  auto authority = lab_snp::Authority::create(std::move(seed), std::move(kept.keys), kept.created);
  CLOISTER_CHECK(show_roots(folder, authority));
  return authority;
}

}  // namespace cloister::lab_host
