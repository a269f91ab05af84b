#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/attestation/report.hpp"
#include "cloister/core/result.hpp"

/// What a guest can be known by, and revoked by.
namespace cloister::revocation {

/// | kind | value |
/// |---|---|
/// | session | SHA-256 of its id, 64 hex digits: the id is a credential |
/// | token | its "jti" |
/// | measurement | MRTD or an RTMR of a TD, the measurement of an SNP guest (96 hex digits), MRENCLAVE or MRSIGNER (64) |
/// | chip | chip id of an SNP report (128), PPID or platform instance id of a PCK certificate (32), its FMSPC (12), which is
/// that of a whole line of processors |
enum class Kind { session, token, measurement, chip };
inline constexpr Kind kKinds[] = {Kind::session, Kind::token, Kind::measurement, Kind::chip};
[[nodiscard]] std::string_view to_string(Kind kind) noexcept;
[[nodiscard]] std::optional<Kind> kind_from_string(std::string_view name) noexcept;

/// The value as it is compared: hex in small letters. `invalid_argument` for what no guest has, such as zeros, which stand
/// where a host masks its chip or nothing was measured.
[[nodiscard]] Result<std::string> canonical(Kind kind, std::string_view value);

/// The values of one guest, canonical; those that name nothing are left out.
struct Subjects {
  std::string session;  // empty for none, as the next
  std::string token;
  std::vector<std::string> measurements;
  std::vector<std::string> chips;
};
/// Measurements and chips of authentic evidence.
[[nodiscard]] Subjects subjects_of(const attestation::Claims& claims);

}  // namespace cloister::revocation
