#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cloister/attestation/tcb.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/evidence/snp/vek.hpp"

/// What a verification found out, check by check.
namespace cloister::attestation {

/// Every check that a verification makes; a report has those of its kind of evidence, in this order. The names
/// (`to_string`) are stable.
enum class CheckId {
  // SGX and TDX quotes
  quote_format,            // version, TEE and body go together; Intel's quoting enclave
  trailing_bytes,          // never fails: says how many there are
  pck_chain,               // leaf, intermediate, root: names, links, signatures, constraints, an anchor, lab markers
  pck_dates,               // every certificate of that chain is valid at the time
  root_crl,                // by the root, signed, within its dates
  pck_crl,                 // by the intermediate, signed, within its dates
  pck_revocation,          // leaf and intermediate
  pck_extension,           // the SGX extension of the leaf can be read
  tcb_info_chain,          // as pck_chain, of the signer of the TCB info; its dates and revocation too
  tcb_info_signature,
  tcb_info_dates,
  tcb_info_match,          // TEE, FMSPC and PCE-ID are those of the quote
  qe_identity_chain,
  qe_identity_signature,
  qe_identity_dates,
  qe_identity_match,       // the kind of quoting enclave that this quote needs
  qe_report_signature,     // by the PCK key
  qe_report_data,          // the QE vouches for the attestation key
  qe_report,               // the QE report fits the QE identity
  quote_signature,         // by the attestation key
  tdx_module,              // the TDX module fits its identity; skipped for SGX
  // SEV-SNP reports
  report_format,           // the processor that the report names is a known one
  vek_chain,               // VCEK or VLEK, ASK or ASVK, ARK: as pck_chain; no damaged authority among the certificates
  vek_dates,
  vek_crl,                 // of the ARK: signed, within its dates; skipped where none was given
  vek_revocation,          // ASK or ASVK are not on it
  vek_extension,           // what the VEK says of product, chip and TCB can be read
  vek_product,             // VEK, report and ARK are of one product
  vek_kind,                // the report is signed by a key of the VEK's kind
  chip_key,                // a host that masks its chip key signs with no VCEK
  vek_tcb,                 // the VEK is that of the reported TCB, in every component
  vek_chip_id,             // the VCEK's chip is the report's; skipped for VLEKs and masked chips
  tcb_order,               // neither reported nor committed TCB is newer than the current one
  report_signature,        // by the VEK
  // all
  report_data,             // the binding; skipped where none was asked for
};
[[nodiscard]] std::string_view to_string(CheckId id) noexcept;

enum class CheckResult { pass, fail, skipped };
[[nodiscard]] std::string_view to_string(CheckResult result) noexcept;

struct Check {
  CheckId id;
  CheckResult result;
  std::optional<Errc> code;  // of a failure
  std::string detail;
};

/// What an SGX or TDX quote says of itself.
struct DcapClaims {
  evidence::QuoteHeader header;
  evidence::QuoteBody body;
  std::optional<evidence::PckExtension> platform;  // chip identity and SVNs; always there in authentic evidence
};

/// What an SEV-SNP report says of itself.
struct SnpClaims {
  evidence::SnpReportBody report;
  std::optional<evidence::SnpProduct> product;  // of the report, else of the VEK; always there in authentic evidence
  std::optional<evidence::VekExtension> vek;    // always there in authentic evidence
};

/// What the evidence says of itself: one alternative a kind of evidence. Accessors give null for another kind.
struct Claims {
  std::variant<DcapClaims, SnpClaims> of;

  [[nodiscard]] const DcapClaims* dcap() const noexcept { return std::get_if<DcapClaims>(&of); }
  [[nodiscard]] const SnpClaims* snp() const noexcept { return std::get_if<SnpClaims>(&of); }
  [[nodiscard]] const evidence::SgxReport* sgx() const noexcept;
  [[nodiscard]] const evidence::TdBody* td() const noexcept;
  [[nodiscard]] const Digest64& report_data() const noexcept;
};

/// Claims of evidence that may be forged: to be shown, never to be decided on.
class UnverifiedClaims {
 public:
  explicit UnverifiedClaims(Claims claims) : claims_{std::move(claims)} {}
  [[nodiscard]] const Claims& unverified() const noexcept { return claims_; }

 private:
  Claims claims_;
};

/// Attributes that say how the enclave or TD was built; a policy decides on them, not the TCB status.
struct AttributeFindings {
  bool debug = false;            // SGX DEBUG; TDX: any bit of TDATTRIBUTES.TUD (bits 0 to 7); SNP policy bit 19
  bool migratable = false;       // TDX bit 29; SNP policy bit 18: a migration agent may be associated
  bool ve_not_disabled = false;  // TDX SEPT_VE_DISABLE (bit 28) is not set
  bool reserved_bits = false;    // TDX: bits that the TDX module specification 1.5 does not define;
                                 // SNP: of policy or platform info, that the firmware ABI 1.58 does not define
  bool service_td = false;       // TDX 1.5: MRSERVICETD is not zero
};
[[nodiscard]] AttributeFindings attribute_findings(const Claims& claims) noexcept;

/// When every document and certificate that was used is valid: the intersection of their windows.
struct CollateralWindow {
  UnixTime issued;
  UnixTime expires;
};

/// The whole result of a verification; a value. Nothing in it may be relied on unless `authentic()`.
struct Report {
  std::vector<Check> checks;  // each CheckId of this kind of evidence once, in order
  UnverifiedClaims claims;
  std::optional<Tcb> tcb;     // whenever it could be evaluated, also when a check failed; SNP: AMD publishes no levels
  std::optional<CollateralWindow> collateral;
  std::size_t trailing_bytes = 0;
  bool lab = false;           // a lab's certificates: simulated evidence
  bool bound = false;         // `report_data` was checked and is the expected one

  /// No check failed.
  [[nodiscard]] bool authentic() const noexcept;
  /// The first check that failed, as an error.
  [[nodiscard]] std::optional<Error> error() const;
  [[nodiscard]] const Check& check(CheckId id) const noexcept;
};

}  // namespace cloister::attestation
