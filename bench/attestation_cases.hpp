#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cloister/attestation/verify.hpp"

/// Evidence to measure verifiers with.
namespace cloister::bench {

/// One platform: its collateral, and quotes of it that differ in attestation key, QE report and report data.
struct Case {
  std::string name;  // "sgx_v3"
  std::vector<Bytes> quotes;
  std::string collateral;  // JSON
  Bytes root;              // DER
  UnixTime now;

  [[nodiscard]] attestation::TrustAnchors anchors() const;
};

inline constexpr std::size_t kRotation = 64;  // keys and messages: a single one lets caches and branches learn it
inline constexpr std::size_t kQuotes = 512;  // each with a QE report of its own

/// SGX version 3, TDX version 4, TDX version 5, each with `kQuotes` quotes, under a test root.
[[nodiscard]] std::vector<Case> synthetic_cases();
/// One real SGX and one real TDX quote with Intel's collateral; none without the vectors' folder.
[[nodiscard]] std::vector<Case> real_cases(const std::filesystem::path& vectors);

}  // namespace cloister::bench
