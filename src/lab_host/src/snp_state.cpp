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
constexpr std::string_view kSnpStoryFile = "tcb.json";
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

Result<UnixTime> read_created(const fs::path& folder) {
  CLOISTER_TRY(text, read_small(folder / kCreatedFile, kMaxCreatedSize));
  const auto created = parse_rfc3339(as_text(text));
  if (!created) return Error{Errc::configuration_invalid, (folder / kCreatedFile).string() + ": " + created.error().detail()};
  return *created;
}

Result<Kept> read(const fs::path& folder) {
  CLOISTER_TRY(pem, read_secret(folder / kKeysFile, kMaxKeysSize));
  auto keys = lab_snp::parse_authority_keys(as_text(pem));
  crypto::cleanse(pem);
  if (!keys) return Error{Errc::configuration_invalid, (folder / kKeysFile).string() + ": " + keys.error().detail()};
  CLOISTER_TRY(created, read_created(folder));
  return Kept{std::move(*keys), created};
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

/// By the clock of the platform that was started here, if one was: `lab clock` sets it for both.
Result<UnixTime> lab_now(const fs::path& state, const Clock& clock) {
  if (!fs::exists(state / kRootFile)) return clock.now();
  CLOISTER_TRY(opened, open_platform(state));
  return lab_time(opened.story, clock);
}

Result<lab_snp::TcbStory> read_snp_story(const fs::path& folder) {
  if (!fs::exists(folder / kKeysFile)) {
    return Error{Errc::not_found, folder.string() + ": no SEV-SNP machine was made here"};
  }
  CLOISTER_TRY(created, read_created(folder));
  const auto file = folder / kSnpStoryFile;
  if (!fs::exists(file)) return lab_snp::TcbStory{created};
  CLOISTER_TRY(text, read_small(file, lab_snp::TcbStory::kMaxSize));
  auto story = lab_snp::read_tcb_story(created, as_text(text));
  if (!story) return story.error().in(file.string());
  return story;
}

evidence::SnpTcb with(evidence::SnpTcb tcb, const SnpLevels& levels) {
  if (levels.fmc) tcb.fmc = levels.fmc;
  tcb.bootloader = levels.bootloader.value_or(tcb.bootloader);
  tcb.tee = levels.tee.value_or(tcb.tee);
  tcb.snp = levels.snp.value_or(tcb.snp);
  tcb.microcode = levels.microcode.value_or(tcb.microcode);
  return tcb;
}

Result<void> raise(std::uint8_t& component, std::string_view name) {
  if (component == 0xFF) return Error{Errc::invalid_argument, "SNP story: load: 255 is the last " + std::string{name}};
  ++component;
  return {};
}

/// What the command means for this machine.
struct SnpAct {
  const lab_snp::PlatformOptions& platform;

  Result<lab_snp::TcbAct> operator()(const LoadLevels& command) const {
    auto tcb = with(platform.current, command.levels);
    if (command.levels == SnpLevels{}) {
      CLOISTER_CHECK(raise(tcb.snp, "snp"));
      CLOISTER_CHECK(raise(tcb.microcode, "microcode"));
    }
    return lab_snp::TcbAct{lab_snp::Load{tcb}};
  }
  Result<lab_snp::TcbAct> operator()(const ReportLevels& command) const {
    const auto& base = command.levels == SnpLevels{} ? platform.committed : platform.reported;
    return lab_snp::TcbAct{lab_snp::SetReported{with(base, command.levels)}};
  }
  template <class Act>
  Result<lab_snp::TcbAct> operator()(const Act& act) const {
    return lab_snp::TcbAct{act};
  }
};

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

Result<SnpView> view_snp_tcb(const fs::path& state, const Clock& clock) {
  CLOISTER_TRY(story, read_snp_story(state / kFolder));
  CLOISTER_TRY(now, lab_now(state, clock));
  return SnpView{now, std::move(story)};
}

Result<SnpView> change_snp_tcb(const fs::path& state, SnpProduct product, const SnpCommand& command, const Clock& clock) {
  const auto folder = state / kFolder;
  const auto found = read_snp_story(folder);  // before a lock is taken where nothing is
  if (!found) return found.error();
  CLOISTER_TRY(lock, wait_for_lock(folder));
  CLOISTER_TRY(view, view_snp_tcb(state, clock));
  CLOISTER_TRY(act, std::visit(SnpAct{view.story.platform(product)}, command));
  CLOISTER_CHECK(view.story.add({view.now, product, std::move(act)}));
  CLOISTER_CHECK(replace_file(folder / kSnpStoryFile, as_bytes(lab_snp::write_tcb_story(view.story)), 0600));
  return view;
}

}  // namespace cloister::lab_host
