#pragma once

#include <string>

#include "cloister/attestation/report.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"

/// Evidence, certificates and collateral as JSON: what `cloister inspect` and verdicts show. The names are stable.
namespace cloister::verdict {

[[nodiscard]] codec::json::Value to_json(const evidence::SgxReport& report);
[[nodiscard]] codec::json::Value to_json(const evidence::TdBody& body);
[[nodiscard]] codec::json::Value to_json(const evidence::PckExtension& extension);
[[nodiscard]] codec::json::Value to_json(const attestation::Claims& claims);
[[nodiscard]] codec::json::Value to_json(const attestation::Tcb& tcb);
[[nodiscard]] codec::json::Value to_json(const evidence::Quote& quote);
[[nodiscard]] codec::json::Value to_json(const crypto::x509::Certificate& certificate);
[[nodiscard]] codec::json::Value to_json(const crypto::x509::Crl& crl);
[[nodiscard]] codec::json::Value to_json(const evidence::TcbInfo& info);
[[nodiscard]] codec::json::Value to_json(const evidence::QeIdentity& identity);

/// "quote-v4".
[[nodiscard]] std::string format_name(const evidence::QuoteHeader& header);

}  // namespace cloister::verdict
