#include "cloister/device/tsm_report.hpp"

#include <fcntl.h>

#include <cerrno>
#include <charconv>

#include "cloister/codec/text.hpp"

namespace cloister::device {
namespace {

constexpr std::size_t kMaxAttribute = 4096;     // a page: what an attribute of text has at most
constexpr std::size_t kMaxBlob = 1U << 20;      // beyond every quote and table of today
constexpr std::size_t kSnpReport = 1184;        // AMD 56860, table "ATTESTATION_REPORT"
constexpr std::size_t kLeastQuote = 48 + 584;   // header and body of a TD quote, version 4
constexpr int kAttempts = 5;

std::string_view line(ByteView bytes) {
  auto text = as_text(bytes);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

Error failed(const std::string& why) { return Error{Errc::tee_failure, "configfs-tsm: " + why}; }

}  // namespace

Result<TsmProvider> decode_tsm_provider(ByteView bytes) {
  const auto name = line(bytes);
  if (name == "tdx_guest") return TsmProvider::tdx_guest;
  if (name == "sev_guest") return TsmProvider::sev_guest;
  return Error{Errc::unsupported, "configfs-tsm: provider tdx_guest or sev_guest expected"};
}

Result<std::uint64_t> decode_tsm_generation(ByteView bytes) {
  const auto text = line(bytes);
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size()) return failed("generation: a number expected");
  return value;
}

/// A report's directory, while it is needed.
class TsmReports::Entry {
 public:
  Entry(Kernel& kernel, std::filesystem::path path) : kernel_{&kernel}, path_{std::move(path)} {}
  Entry(Entry&& other) noexcept : kernel_{std::exchange(other.kernel_, nullptr)}, path_{std::move(other.path_)} {}
  Entry& operator=(Entry&&) = delete;
  Entry(const Entry&) = delete;
  ~Entry() {
    if (kernel_ != nullptr) kernel_->rmdir(path_);
  }

  [[nodiscard]] Result<Bytes> read(std::string_view attribute, std::size_t limit) const {
    CLOISTER_TRY(file, KernelFile::open(*kernel_, path_ / attribute, O_RDONLY));
    return file.read_all(limit);
  }
  [[nodiscard]] Result<void> write(std::string_view attribute, ByteView bytes) const {
    CLOISTER_TRY(file, KernelFile::open(*kernel_, path_ / attribute, O_WRONLY));
    return file.write_once(bytes);
  }
  [[nodiscard]] Result<std::uint64_t> generation() const {
    CLOISTER_TRY(bytes, read("generation", kMaxAttribute));
    return decode_tsm_generation(bytes);
  }
  [[nodiscard]] Result<TsmProvider> provider() const {
    CLOISTER_TRY(bytes, read("provider", kMaxAttribute));
    return decode_tsm_provider(bytes);
  }
  [[nodiscard]] bool has(std::string_view attribute) const { return kernel_->exists(path_ / attribute); }

 private:
  Kernel* kernel_;
  std::filesystem::path path_;
};

Result<TsmReports::Entry> TsmReports::make_entry() {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto path = root_ / ("cloister-" + codec::to_hex(random_.array<8>()));
    const int made = kernel_.mkdir(path);
    if (made == 0) return Entry{kernel_, path};
    if (made != -EEXIST) return kernel_error(root_, -made);
  }
  return Error{Errc::conflict, "configfs-tsm: no name is free"};
}

Result<TsmProvider> TsmReports::provider() {
  CLOISTER_TRY(entry, make_entry());
  return entry.provider();
}

Result<TsmReport> TsmReports::report(const Digest64& inblob, std::optional<unsigned> privilege) {
  if (privilege && *privilege > 3) return Error{Errc::invalid_argument, "privilege level: 0 to 3 expected"};
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    CLOISTER_TRY(report, try_report(inblob, privilege));
    if (report) return *std::move(report);
  }
  return Error{Errc::conflict, "configfs-tsm: others write into our report"};
}

/// Nothing when the report may be over somebody else's bytes. A binary attribute takes effect when it is closed, and
/// the close says nothing of failure: the generation does.
Result<std::optional<TsmReport>> TsmReports::try_report(const Digest64& inblob, std::optional<unsigned> privilege) {
  CLOISTER_TRY(entry, make_entry());
  CLOISTER_TRY(provider, entry.provider());
  CLOISTER_TRY(before, entry.generation());
  if (privilege) CLOISTER_CHECK(entry.write("privlevel", as_bytes(std::to_string(*privilege))));
  CLOISTER_CHECK(entry.write("inblob", inblob));
  const auto expected = before + (privilege ? 2 : 1);
  CLOISTER_TRY(written, entry.generation());
  if (written == before + (privilege ? 1 : 0)) return failed("inblob was not taken");
  if (written != expected) return std::optional<TsmReport>{};
  CLOISTER_TRY(outblob, entry.read("outblob", kMaxBlob));
  std::optional<Bytes> auxblob;
  if (entry.has("auxblob")) {
    CLOISTER_TRY(bytes, entry.read("auxblob", kMaxBlob));
    if (!bytes.empty()) auxblob = std::move(bytes);
  }
  CLOISTER_TRY(after, entry.generation());
  if (after != expected) return std::optional<TsmReport>{};
  const bool whole = provider == TsmProvider::sev_guest ? outblob.size() == kSnpReport : outblob.size() > kLeastQuote;
  if (!whole) return failed("outblob of " + std::to_string(outblob.size()) + " bytes is no report of its provider");
  return std::optional{TsmReport{provider, std::move(outblob), std::move(auxblob)}};
}

}  // namespace cloister::device
