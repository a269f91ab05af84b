#pragma once

#include <optional>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"

/// Where a verifier gets a platform's collateral from. Nothing that comes from a source is trusted: verification does.
namespace cloister::collateral {

/// Which of the vendor's intermediate authorities issued the PCK certificate.
enum class CaType { platform, processor };
[[nodiscard]] std::string_view to_string(CaType type) noexcept;  // "platform", "processor"

/// What a quote needs. Absent members are those that the quote does not say, because it carries no PCK certificate.
struct Wanted {
  evidence::TeeType tee = evidence::TeeType::sgx;
  std::optional<ByteArray<6>> fmspc;
  std::optional<CaType> ca;
};
/// Read from the quote's PCK certificate; without it, the TEE alone.
[[nodiscard]] Wanted wanted_by(const evidence::Quote& quote);

/// Implementations say whether they are thread-safe.
class CollateralSource {
 public:
  virtual ~CollateralSource() = default;
  /// `collateral_missing` with what is missing; `collateral_malformed` where something is there and cannot be read.
  [[nodiscard]] virtual Result<evidence::QuoteCollateral> find(const Wanted& wanted) const = 0;
  /// Certificates and CRLs for an SNP report beside those that it was given with; they may be of other chips and products
  /// too. `collateral_missing` when there is none.
  [[nodiscard]] virtual Result<evidence::SnpEndorsements> find(const evidence::SnpReport& report,
                                                               const evidence::SnpEndorsements& given) const;
};

}  // namespace cloister::collateral
