#pragma once

#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"

/// SEV-SNP evidence as the guest components write it: the report as an object of fields, in the names and types of the Rust
/// crate `sev` (6 and later).
namespace cloister::rcar {

/// The 1184 bytes of the report (AMD 56860, SEV-SNP Firmware ABI 1.58, Table 23), reserved ones zero. TCBs with `fmc` are
/// written as from Turin on, others as before. What is wrong in it is found by its signature, not here: `missing_member`,
/// `unknown_member` and `malformed` are of the form alone.
[[nodiscard]] Result<Bytes> snp_report_bytes(const codec::json::Value& report);

/// {"attestation_report": {…}, "cert_chain": …} with the report as hex, which verifiers read; any other evidence as it is.
/// `malformed` for what is no JSON; as above.
[[nodiscard]] Result<std::string> with_raw_snp_report(std::string_view evidence);

}  // namespace cloister::rcar
