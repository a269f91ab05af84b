#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/evidence/snp/endorsements.hpp"
#include "cloister/evidence/snp/report.hpp"

/// What a file holds, for people who have one and do not know.
namespace cloister::evidence {

inline constexpr std::size_t kMaxEvidenceFileSize = 1U << 20;

enum class EvidenceKind { unknown, sgx_quote, tdx_quote, snp_report };
[[nodiscard]] std::string_view to_string(EvidenceKind kind) noexcept;

/// The kind by the shape of raw bytes: a quote by version and TEE type in its header, an SNP report by version and
/// size. Says nothing about the rest: a damaged quote is recognised too, so that its parser can say what is wrong.
[[nodiscard]] EvidenceKind kind_of(ByteView evidence) noexcept;

struct DetectedEvidence {
  EvidenceKind kind = EvidenceKind::unknown;
  Bytes bytes;         // raw
  std::string member;  // where in a JSON document, "evidence.quote"; empty otherwise
  std::optional<EventLog> event_log;
  SnpEndorsements endorsements{};  // beside an SNP report: what could be read of them
};

/// Raw bytes; hex or base64 text (either alphabet, white space allowed, "0x" too); or JSON with evidence in some
/// member as such text or as an array of byte values, also inside an Azure HCL report. An event log beside it
/// (members `event_log`, `cc_eventlog`) is parsed. Certificates beside an SNP report are collected: a certificate table
/// behind the raw report (an extended report), and in JSON any member that is one, or certificates as PEM, DER in text,
/// or byte values; those that cannot be read are left out, and then missing. `unknown` with the file's bytes when nothing is recognised;
/// `limit_exceeded` above `kMaxEvidenceFileSize`; `evidence_malformed` for a document with two different pieces of
/// evidence, or with an event log that does not parse.
[[nodiscard]] Result<DetectedEvidence> detect(ByteView file);

}  // namespace cloister::evidence
