#pragma once

#include <optional>
#include <string>

#include "cloister/attestation/report.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/snp/report.hpp"
#include "cloister/evidence/snp/vek.hpp"

/// Evidence, certificates and collateral as JSON: what `cloister inspect` and verdicts show. The names are stable.
namespace cloister::verdict {

[[nodiscard]] codec::json::Value to_json(const evidence::SgxReport& report);
[[nodiscard]] codec::json::Value to_json(const evidence::TdBody& body);
[[nodiscard]] codec::json::Value to_json(const evidence::PckExtension& extension);
/// Without a product the TCBs are shown as they stand.
[[nodiscard]] codec::json::Value to_json(const evidence::SnpReportBody& report, std::optional<evidence::SnpProduct> product);
[[nodiscard]] codec::json::Value to_json(const evidence::VekExtension& extension);
[[nodiscard]] codec::json::Value to_json(const evidence::SnpReport& report);
[[nodiscard]] codec::json::Value to_json(const attestation::Claims& claims);
[[nodiscard]] codec::json::Value to_json(const attestation::Tcb& tcb);
[[nodiscard]] codec::json::Value to_json(const evidence::Quote& quote);
[[nodiscard]] codec::json::Value to_json(const crypto::x509::Certificate& certificate);
[[nodiscard]] codec::json::Value to_json(const crypto::x509::Crl& crl);
[[nodiscard]] codec::json::Value to_json(const evidence::TcbInfo& info);
[[nodiscard]] codec::json::Value to_json(const evidence::QeIdentity& identity);

/// The TCBs of an SNP report, in the place of the TCB that a vendor evaluates: `status` is null.
[[nodiscard]] codec::json::Value tcb_json(const attestation::SnpClaims& claims);

/// "quote-v4".
[[nodiscard]] std::string format_name(const evidence::QuoteHeader& header);
/// "snp-report-v3".
[[nodiscard]] std::string format_name(const evidence::SnpReportBody& report);

}  // namespace cloister::verdict
