#pragma once

#include <optional>

#include "cloister/core/random.hpp"
#include "cloister/device/kernel.hpp"

namespace cloister::device {

inline constexpr std::string_view kTsmReports = "/sys/kernel/config/tsm/report";

/// What made a report, and with it its format.
enum class TsmProvider { tdx_guest, sev_guest };

struct TsmReport {
  TsmProvider provider;
  Bytes outblob;                 // TDX: a quote; SEV-SNP: an attestation report
  std::optional<Bytes> auxblob;  // SEV-SNP: the host's certificate table
};

/// Reports of Linux' configfs-tsm (6.7 and later; Documentation/ABI/testing/configfs-tsm-report). Each call makes a
/// directory of its own and removes it; whatever others write into it meanwhile shows in `generation`, and the report
/// is made again. Thread-safe if kernel and random are; they outlive it.
class TsmReports {
 public:
  TsmReports(Kernel& kernel, Random& random, std::filesystem::path root = kTsmReports)
      : kernel_{kernel}, random_{random}, root_{std::move(root)} {}

  /// Over 64 bytes of the caller's; `privilege` 0 to 3 where the provider has levels (SEV-SNP: VMPL).
  /// Errors: of `kernel_error`, `limit_exceeded`; `tee_failure` for an answer that is none; `unsupported` for a provider
  /// that is not known; `conflict` when others kept on writing.
  [[nodiscard]] Result<TsmReport> report(const Digest64& inblob, std::optional<unsigned> privilege = std::nullopt);
  /// Who would make a report.
  [[nodiscard]] Result<TsmProvider> provider();

 private:
  class Entry;
  [[nodiscard]] Result<Entry> make_entry();
  [[nodiscard]] Result<std::optional<TsmReport>> try_report(const Digest64& inblob, std::optional<unsigned> privilege);

  Kernel& kernel_;
  Random& random_;
  std::filesystem::path root_;
};

/// The text of the attribute `provider`, and that of `generation`. Pure.
[[nodiscard]] Result<TsmProvider> decode_tsm_provider(ByteView bytes);
[[nodiscard]] Result<std::uint64_t> decode_tsm_generation(ByteView bytes);

}  // namespace cloister::device
