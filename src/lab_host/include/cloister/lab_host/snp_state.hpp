#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <variant>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/lab_snp/authority.hpp"
#include "cloister/lab_snp/tcb_story.hpp"

namespace cloister::lab_host {

/// LAB ONLY - NOT HARDWARE. The lab's AMD of a platform's directory: under the platform's seed, with RSA keys that are made once
/// (several seconds) and kept in its folder `snp`, beside the roots ("ark-milan.pem" …, for people to name in trust files).
/// Whoever opens it holds the seed, as the platform does; both may run at the same time. The seed is made where there is
/// none. `configuration_invalid` for a state that is not whole or that others may read.
[[nodiscard]] Result<lab_snp::Authority> open_snp_authority(const std::filesystem::path& state, const Clock& clock, Random& random);

/// Components of a TCB that a person names; the others stay.
struct SnpLevels {
  std::optional<std::uint8_t> fmc{};
  std::optional<std::uint8_t> bootloader{};
  std::optional<std::uint8_t> tee{};
  std::optional<std::uint8_t> snp{};
  std::optional<std::uint8_t> microcode{};
  friend bool operator==(const SnpLevels&, const SnpLevels&) = default;
};
/// Other firmware and microcode than what runs; without levels the next: snp and microcode of one more.
struct LoadLevels {
  SnpLevels levels{};
};
/// Another reported TCB; without levels the committed one.
struct ReportLevels {
  SnpLevels levels{};
};
using SnpCommand = std::variant<LoadLevels, lab_snp::Commit, ReportLevels, lab_snp::RevokeIssuer, lab_snp::WithholdList,
                                lab_snp::ReleaseList>;

struct SnpView {
  UnixTime now;  // by the lab's clock: the platform's where there is one
  lab_snp::TcbStory story;
};

/// The machines of a directory whose AMD was opened once; `not_found` otherwise. `configuration_invalid` for a story that is not whole.
[[nodiscard]] Result<SnpView> view_snp_tcb(const std::filesystem::path& state, const Clock& clock);
/// Performs the command and keeps it: reports and certificates are by it from then on. Also what `lab_snp::TcbStory::add` refuses.
[[nodiscard]] Result<SnpView> change_snp_tcb(const std::filesystem::path& state, evidence::SnpProduct product, const SnpCommand& command,
                                             const Clock& clock);

}  // namespace cloister::lab_host
