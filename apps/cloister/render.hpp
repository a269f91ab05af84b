#pragma once

#include <ostream>
#include <string>

#include "cloister/attestation/report.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"

/// Structures as JSON, and JSON as lines for people.
namespace cloister::cli {

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

/// The text with control characters replaced by '?': what others wrote must not speak to the terminal.
[[nodiscard]] std::string printable(std::string_view text);

/// "name: value" lines, members of objects and lists indented under their name.
void print_plain(std::ostream& out, const codec::json::Value& value, unsigned indent = 0);

}  // namespace cloister::cli
