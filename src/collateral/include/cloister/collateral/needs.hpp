#pragma once

#include <optional>
#include <vector>

#include "cloister/collateral/key.hpp"
#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"

/// What a piece of evidence needs. Pure.
namespace cloister::collateral {

/// TCB info, QE identity, and the CRLs of the root and of the authority that issued the PCK certificate.
/// `collateral_missing` when the quote does not say its FMSPC or authority, because it carries no PCK certificate.
[[nodiscard]] Result<std::vector<Key>> keys_of(const Wanted& wanted, const Evaluation& evaluation = {});

/// For an SEV-SNP report (AMD 56860, table 23): the chip's certificate, its chain and its CRL; chain and CRL alone for a
/// report under a VLEK, whose certificate its host has. `product`: for reports of version 2, which do not say it.
/// `evidence_malformed` for what is no report, `evidence_unsupported` for a version, product or signing key that is not
/// known, `collateral_missing` for a masked chip, or a product that neither the report nor the caller says.
[[nodiscard]] Result<std::vector<Key>> keys_of_snp_report(ByteView report, std::optional<Product> product);

/// The same without those that are among `given`: a VEK, an authority, a list. The VEK may say the product. Nothing is
/// missing where all three are there.
[[nodiscard]] Result<std::vector<Key>> keys_missing(const evidence::SnpReport& report, const evidence::SnpEndorsements& given);

}  // namespace cloister::collateral
