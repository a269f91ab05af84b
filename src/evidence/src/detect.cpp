#include "cloister/evidence/detect.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/codec/der.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/quote.hpp"

namespace cloister::evidence {
namespace {

namespace json = codec::json;

/// An Azure HCL report: "HCLA", a head of 32 bytes, the hardware's report, more.
constexpr std::string_view kHclMagic = "HCLA";
constexpr std::size_t kHclHeadSize = 32;

struct Found {
  EvidenceKind kind;
  Bytes bytes;
  std::string member;
  SnpEndorsements endorsements{};
};

/// A report with the host's certificate table behind it.
std::optional<Found> extended_report(ByteView bytes) {
  if (bytes.size() <= kSnpReportSize) return std::nullopt;
  const auto report = bytes.first(kSnpReportSize);
  if (kind_of(report) != EvidenceKind::snp_report) return std::nullopt;
  auto table = parse_snp_certificate_table(bytes.subspan(kSnpReportSize));
  if (!table) return std::nullopt;
  return Found{EvidenceKind::snp_report, to_bytes(report), {}, std::move(table).value()};
}

std::optional<Found> classify(ByteView bytes) {
  if (const auto kind = kind_of(bytes); kind != EvidenceKind::unknown) return Found{kind, to_bytes(bytes), {}};
  if (auto extended = extended_report(bytes)) return extended;
  if (bytes.size() < kHclHeadSize + kSnpReportSize || !as_text(bytes).starts_with(kHclMagic)) return std::nullopt;
  const auto report = bytes.subspan(kHclHeadSize, kSnpReportSize);
  if (kind_of(report) != EvidenceKind::snp_report) return std::nullopt;
  return Found{EvidenceKind::snp_report, to_bytes(report), {}};
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0'; }

/// Hex, or base64 of either alphabet with or without padding; white space anywhere.
std::optional<Bytes> decode_text(std::string_view text) {
  std::string compact;
  compact.reserve(text.size());
  std::ranges::copy_if(text, std::back_inserter(compact), [](char c) { return !is_blank(c); });
  if (auto hex = codec::from_hex(std::string_view{compact}.substr(compact.starts_with("0x") ? 2 : 0))) {
    return std::move(hex).value();
  }
  while (compact.ends_with('=')) compact.pop_back();
  std::ranges::replace(compact, '+', '-');
  std::ranges::replace(compact, '/', '_');
  if (auto base64 = codec::from_base64url(compact)) return std::move(base64).value();
  return std::nullopt;
}

std::optional<Bytes> byte_values(const json::Array& values) {
  Bytes out;
  for (const auto& value : values) {
    const auto byte = value.as_uint();
    if (!byte || *byte > 0xFF) return std::nullopt;
    out.push_back(static_cast<std::uint8_t>(*byte));
  }
  return out;
}

std::optional<Bytes> bytes_of(const json::Value& value) {
  if (const auto* text = value.as_string()) return decode_text(*text);
  if (const auto* values = value.as_array()) return byte_values(*values);
  return std::nullopt;
}

/// Certificates in whichever of their forms; nothing when it is something else.
SnpEndorsements endorsements_in(ByteView bytes) {
  if (as_text(bytes).starts_with("-----BEGIN CERTIFICATE")) {
    if (auto chain = crypto::x509::parse_chain(as_text(bytes))) return {.certificates = std::move(chain).value(), .crls = {}};
  } else if (bytes.size() > 2 && bytes[0] == codec::der::tag::kSequence) {
    if (auto certificate = crypto::x509::parse_certificate(bytes)) return {.certificates = {*certificate}, .crls = {}};
  } else if (auto table = parse_snp_certificate_table(bytes)) {
    return std::move(table).value();
  }
  return {};
}

/// Walks a document; the parser has bounded its depth.
class Search {
 public:
  Result<void> visit(const json::Value& value, const std::string& path) {
    const auto* text = value.as_string();
    if (text != nullptr && text->starts_with("-----BEGIN")) return collect(endorsements_in(as_bytes(*text)));
    if (const auto bytes = bytes_of(value)) {
      if (auto found = classify(*bytes)) {
        found->member = path;
        return keep(std::move(*found));
      }
      CLOISTER_CHECK(collect(endorsements_in(*bytes)));
    }
    if (const auto* items = value.as_array()) {
      for (std::size_t i = 0; i < items->size(); ++i) CLOISTER_CHECK(visit((*items)[i], path + '[' + std::to_string(i) + ']'));
    }
    if (const auto* members = value.as_object()) {
      for (const auto& [name, member] : *members) {
        CLOISTER_CHECK(take_event_log(name, member));
        CLOISTER_CHECK(visit(member, path.empty() ? name : path + '.' + name));
      }
    }
    return {};
  }

  [[nodiscard]] std::optional<DetectedEvidence> result() && {
    if (!found_) return std::nullopt;
    DetectedEvidence out{found_->kind, std::move(found_->bytes), std::move(found_->member), std::move(event_log_)};
    if (out.kind != EvidenceKind::snp_report) return out;
    out.endorsements = std::move(found_->endorsements);
    out.endorsements.add(std::move(endorsements_));
    return out;
  }

 private:
  Result<void> keep(Found found) {
    if (found_ && !same_bytes(found_->bytes, found.bytes)) {
      return Error{Errc::evidence_malformed, "different pieces of evidence in " + found_->member + " and " + found.member};
    }
    if (!found_) found_ = std::move(found);
    return {};
  }

  Result<void> collect(SnpEndorsements found) {
    endorsements_.add(std::move(found));
    if (endorsements_.certificates.size() <= kMaxSnpCertificates && endorsements_.crls.size() <= kMaxSnpCertificates) return {};
    return Error{Errc::limit_exceeded, "evidence: at most " + std::to_string(kMaxSnpCertificates) + " certificates expected"};
  }

  /// The first log in the document, in whichever of its forms.
  Result<void> take_event_log(std::string_view name, const json::Value& value) {
    if (event_log_ || (name != "event_log" && name != "cc_eventlog")) return {};
    const auto* text = value.as_string();
    if (value.is_null() || (text != nullptr && text->empty())) return {};
    CLOISTER_TRY(log, read_event_log(value));
    event_log_ = std::move(log);
    return {};
  }

  static Result<EventLog> read_event_log(const json::Value& value) {
    const auto* text = value.as_string();
    if (text != nullptr && text->starts_with('[')) return parse_dstack_event_log(*text);
    const auto bytes = bytes_of(value);
    if (!bytes) return parse_dstack_event_log(json::write(value));
    auto guest = parse_guest_event_log(*bytes);
    if (guest) return to_event_log(*guest);
    return parse_ccel(*bytes);
  }

  std::optional<Found> found_;
  std::optional<EventLog> event_log_;
  SnpEndorsements endorsements_;
};

bool may_be_json(std::string_view text) {
  const auto first = std::ranges::find_if_not(text, is_blank);
  return first != text.end() && (*first == '{' || *first == '[' || *first == '"');
}

}  // namespace

std::string_view to_string(EvidenceKind kind) noexcept {
  switch (kind) {
    case EvidenceKind::unknown: return "unknown";
    case EvidenceKind::sgx_quote: return "sgx_quote";
    case EvidenceKind::tdx_quote: return "tdx_quote";
    case EvidenceKind::snp_report: return "snp_report";
  }
  return "unknown";
}

EvidenceKind kind_of(ByteView evidence) noexcept {
  codec::Reader snp{evidence};
  const auto snp_version = snp.u32le().value_or(0);
  if (evidence.size() == kSnpReportSize && snp_version >= 2 && snp_version <= 5) return EvidenceKind::snp_report;
  if (evidence.size() < kQuoteHeaderSize) return EvidenceKind::unknown;
  codec::Reader quote{evidence};
  const auto version = quote.u16le().value_or(0);
  const auto key_type = quote.u16le().value_or(0);
  const auto tee = quote.u32le().value_or(0);
  if (version < 3 || version > 5 || key_type < 2 || key_type > 3) return EvidenceKind::unknown;
  if (tee == static_cast<std::uint32_t>(TeeType::sgx)) return EvidenceKind::sgx_quote;
  if (tee == static_cast<std::uint32_t>(TeeType::tdx)) return EvidenceKind::tdx_quote;
  return EvidenceKind::unknown;
}

Result<DetectedEvidence> detect(ByteView file) {
  if (file.size() > kMaxEvidenceFileSize) {
    return Error{Errc::limit_exceeded, "evidence file: at most " + std::to_string(kMaxEvidenceFileSize) + " bytes expected"};
  }
  const auto whole = [](Found&& found) {
    return DetectedEvidence{found.kind, std::move(found.bytes), {}, {}, std::move(found.endorsements)};
  };
  if (auto found = classify(file)) return whole(std::move(*found));
  const auto text = as_text(file);
  if (may_be_json(text)) {
    json::Limits limits;
    limits.values = kMaxEvidenceFileSize;  // arrays of byte values
    if (const auto root = json::parse(text, limits)) {
      Search search;
      CLOISTER_CHECK(search.visit(*root, {}));
      if (auto found = std::move(search).result()) return std::move(*found);
    }
  } else if (const auto bytes = decode_text(text)) {
    if (auto found = classify(*bytes)) return whole(std::move(*found));
  }
  return DetectedEvidence{EvidenceKind::unknown, to_bytes(file), {}, {}};
}

}  // namespace cloister::evidence
