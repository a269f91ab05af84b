#include "cloister/collateral/document.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "certificates.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::collateral {
namespace {

namespace json = codec::json;
namespace x509 = crypto::x509;
using evidence::TeeType;

constexpr std::size_t kMaxChain = 4;
constexpr std::chrono::seconds kMaxWait{24 * 60 * 60};

Error malformed(const Key& key, const std::string& why) {
  return Error{Errc::collateral_malformed, to_string(key) + ": " + why};
}
Error mismatch(const Key& key, const std::string& got) {
  return Error{Errc::collateral_mismatch, to_string(key) + " was asked for, got " + got};
}

/// The chain as services give it, as parsed certificates; of the quote's own kinds only, so EC keys.
Result<Certificates> read_chain(const Key& key, std::string_view pem) {
  if (pem.empty()) return Error{Errc::missing_member, to_string(key) + ": no issuer chain came with it"};
  auto chain = x509::parse_chain(pem, kMaxChain);
  if (!chain) return malformed(key, "issuer chain: " + chain.error().text());
  return chain;
}

void add_chain(Document& out, const Certificates& chain) {
  out.issuer_chain = to_pem(chain);
  for (const auto& certificate : chain) out.expires = std::min(out.expires, certificate->not_after);
}

/// `evaluation` by number must be the document's; what "early" and "standard" stand for, the service decides.
bool is_of(const Evaluation& evaluation, std::uint32_t number) {
  return !evaluation.number || *evaluation.number == number;
}

struct Reading {
  const Key& key;
  ByteView body;
  std::string_view chain;

  [[nodiscard]] Document begin() const { return {.key = key, .body = to_bytes(body), .issuer_chain = {}, .evaluation_number = {}}; }

  Result<Document> operator()(const TcbInfoKey& wanted) const {
    const auto parsed = evidence::parse_tcb_info(as_text(body));
    if (!parsed) return malformed(key, parsed.error().text());
    const auto& info = parsed->info;
    if (info.tee != wanted.tee) return mismatch(key, "TCB info of " + std::string{evidence::to_string(info.tee)});
    if (info.fmspc != wanted.fmspc) return mismatch(key, "TCB info of FMSPC " + codec::to_hex(info.fmspc));
    if (!is_of(wanted.evaluation, info.tcb_evaluation_data_number)) {
      return mismatch(key, "tcbEvaluationDataNumber " + std::to_string(info.tcb_evaluation_data_number));
    }
    CLOISTER_TRY(certificates, read_chain(key, chain));
    auto out = begin();
    out.issued = info.issue_date;
    out.expires = info.next_update;
    out.evaluation_number = info.tcb_evaluation_data_number;
    add_chain(out, certificates);
    return out;
  }

  Result<Document> operator()(const IdentityKey& wanted) const {
    CLOISTER_TRY(out, wanted.enclave == Enclave::qve ? read_qve() : read_qe(wanted));
    if (!is_of(wanted.evaluation, *out.evaluation_number)) {
      return mismatch(key, "tcbEvaluationDataNumber " + std::to_string(*out.evaluation_number));
    }
    CLOISTER_TRY(certificates, read_chain(key, chain));
    add_chain(out, certificates);
    return out;
  }

  [[nodiscard]] Result<Document> read_qe(const IdentityKey& wanted) const {
    const auto parsed = evidence::parse_qe_identity(as_text(body));
    if (!parsed) return malformed(key, parsed.error().text());
    const auto id = wanted.enclave == Enclave::td_qe ? evidence::EnclaveId::td_qe : evidence::EnclaveId::qe;
    if (parsed->identity.id != id) return mismatch(key, "the identity of " + std::string{evidence::to_string(parsed->identity.id)});
    auto out = begin();
    out.issued = parsed->identity.issue_date;
    out.expires = parsed->identity.next_update;
    out.evaluation_number = parsed->identity.tcb_evaluation_data_number;
    return out;
  }

  /// The verification enclave's identity: nobody here verifies with it, so that only what a cache needs is read.
  [[nodiscard]] Result<Document> read_qve() const {
    const auto parsed = json::parse(as_text(body), {.bytes = evidence::kMaxTcbDocumentSize});
    if (!parsed) return malformed(key, parsed.error().text());
    json::Fields envelope{*parsed, "answer"};
    const auto& identity = envelope.object("enclaveIdentity");
    static_cast<void>(envelope.hex_array<64>("signature"));
    if (auto done = envelope.finish_lenient(); !done) return malformed(key, done.error().text());
    json::Fields fields{identity, "enclaveIdentity"};
    const auto id = fields.string("id");
    const auto issued = parse_rfc3339(fields.string("issueDate"));
    const auto next = parse_rfc3339(fields.string("nextUpdate"));
    const auto number = fields.integer("tcbEvaluationDataNumber", 0, UINT32_MAX);
    if (auto done = fields.finish_lenient(); !done) return malformed(key, done.error().text());
    if (!issued || !next) return malformed(key, "issueDate and nextUpdate in RFC 3339 expected");
    if (id != "QVE") return mismatch(key, "the identity of " + id.substr(0, 32));
    auto out = begin();
    out.issued = *issued;
    out.expires = *next;
    out.evaluation_number = static_cast<std::uint32_t>(number);
    return out;
  }

  [[nodiscard]] Result<std::pair<Document, x509::Crl>> read_crl() const {
    const auto der = evidence::crl_to_der(body);
    if (!der) return malformed(key, der.error().detail());
    auto crl = x509::parse_crl(*der);
    if (!crl) return malformed(key, crl.error().detail());
    if (!crl->next_update) return malformed(key, "a CRL without nextUpdate");
    auto out = begin();
    out.body = *der;
    out.issued = crl->this_update;
    out.expires = *crl->next_update;
    return std::pair{std::move(out), std::move(crl).value()};
  }
  [[nodiscard]] Error crl_of(const x509::Crl& crl) const {
    return mismatch(key, "the CRL of \"" + crl.issuer_common_name.substr(0, 64) + '"');
  }

  Result<Document> operator()(const PckCrlKey& wanted) const {
    CLOISTER_TRY(read, read_crl());
    const auto& name = read.second.issuer_common_name;
    const auto role = wanted.ca == CaType::processor ? "PCK Processor CA" : "PCK Platform CA";
    if (name.find(role) == std::string::npos) return crl_of(read.second);
    if (chain.empty()) return std::move(read.first);  // the quote brings the issuer
    CLOISTER_TRY(certificates, read_chain(key, chain));
    add_chain(read.first, certificates);
    return std::move(read.first);
  }
  Result<Document> operator()(const RootCrlKey&) const {
    CLOISTER_TRY(read, read_crl());
    if (read.second.issuer_common_name.find("Root CA") == std::string::npos) return crl_of(read.second);
    return std::move(read.first);
  }
  Result<Document> operator()(const AmdCrlKey& wanted) const {
    CLOISTER_TRY(read, read_crl());
    if (product_of_ark(read.second.issuer_common_name) != wanted.product) return crl_of(read.second);
    return std::move(read.first);
  }

  Result<Document> operator()(const VcekKey& wanted) const {
    auto certificate = read_certificate();
    if (!certificate) return malformed(key, certificate.error().text());
    const auto got = vcek_key_of(**certificate);
    if (!got) return malformed(key, got.error().detail());
    if (*got != wanted) return mismatch(key, to_string(Key{*got}));
    auto out = begin();
    out.body = (*certificate)->der;
    out.issued = (*certificate)->not_before;
    out.expires = (*certificate)->not_after;
    return out;
  }
  [[nodiscard]] Result<x509::CertificatePtr> read_certificate() const {
    if (as_text(body).find("-----BEGIN ") == std::string_view::npos) return x509::parse_certificate(body);
    CLOISTER_TRY(certificates, x509::parse_chain(as_text(body), 1));
    return certificates.front();
  }

  Result<Document> operator()(const AmdChainKey& wanted) const {
    auto certificates = x509::parse_chain(as_text(body), kMaxChain);
    if (!certificates) return malformed(key, certificates.error().text());
    if (certificates->size() != 2) {
      return malformed(key, "two certificates expected, got " + std::to_string(certificates->size()));
    }
    const auto& intermediate = *certificates->front();
    const auto& root = *certificates->back();
    if (chain_key_of(intermediate.subject_common_name) != wanted || product_of_ark(root.subject_common_name) != wanted.product) {
      return mismatch(key, "\"" + intermediate.subject_common_name.substr(0, 64) + "\" under \"" +
                               root.subject_common_name.substr(0, 64) + '"');
    }
    if (intermediate.issuer != root.subject || root.issuer != root.subject) {
      return malformed(key, "an intermediate and the root that issued it expected");
    }
    auto out = begin();
    out.body = to_bytes(to_pem(*certificates));
    out.issued = std::max(intermediate.not_before, root.not_before);
    out.expires = std::min(intermediate.not_after, root.not_after);
    return out;
  }
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

/// Every escape whole; '+' stands for itself.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto byte = codec::from_hex(text.substr(i + 1, 2));
    if (!byte) return std::nullopt;
    out.push_back(static_cast<char>(byte->front()));
    i += 2;
  }
  return out;
}

/// Content types that a kind may come with; mirrors and caching services differ in binary ones.
bool type_fits(const Key& key, std::string_view type) {
  const auto name = type.substr(0, type.find(';'));
  const auto trimmed = name.substr(0, name.find_last_not_of(' ') + 1);
  const auto one_of = [trimmed](std::initializer_list<std::string_view> names) {
    return std::ranges::any_of(names, [trimmed](std::string_view one) { return same_name(trimmed, one); });
  };
  if (content_type(key) == "application/json") return one_of({"application/json"});
  if (std::holds_alternative<VcekKey>(key)) {
    return one_of({"application/pkix-cert", "application/x-x509-ca-cert", "application/octet-stream",
                   "application/x-pem-file", "application/pem-certificate-chain"});
  }
  if (std::holds_alternative<AmdChainKey>(key)) {
    return one_of({"application/x-pem-file", "application/pem-certificate-chain", "application/octet-stream", "text/plain"});
  }
  return one_of({"application/pkix-crl", "application/x-pem-file", "application/octet-stream", "text/plain"});
}

Error refused_status(int status, const std::string& what) {
  const auto said = what + ": the service answered " + std::to_string(status);
  if (status >= 300 && status < 400) return Error{Errc::unsupported, said + "; redirections are not followed"};
  if (status == 404 || status == 410) return Error{Errc::collateral_missing, said + ": it does not have it"};
  // Intel's caching service: unknown platform, and no certificates for it.
  if (status == 461 || status == 462) return Error{Errc::collateral_missing, said + ": the platform is not registered there"};
  if (status == 429) return Error{Errc::rate_limited, said + ": too many requests"};
  if (status >= 500) return Error{Errc::unavailable, said};
  return Error{Errc::invalid_argument, said};
}

constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::optional<int> number_in(std::string_view text) {
  int out = 0;
  const bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (!digits || failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace

std::optional<std::string_view> Answer::header(std::string_view name) const noexcept {
  std::optional<std::string_view> out;
  for (const auto& [field, value] : headers) {
    if (!same_name(field, name)) continue;
    if (out) return std::nullopt;
    out = value;
  }
  return out;
}

Result<Document> read_document(const Key& key, ByteView body, std::string_view issuer_chain_pem) {
  if (body.size() > max_body(key)) {
    return Error{Errc::limit_exceeded, to_string(key) + ": larger than " + std::to_string(max_body(key)) + " bytes"};
  }
  auto out = std::visit(Reading{key, body, issuer_chain_pem}, key);
  if (out && out->expires <= out->issued) return malformed(key, "it ends before it begins");
  return out;
}

Result<Outcome> interpret(const Key& key, ApiVersion version, const Answer& answer, bool conditional, UnixTime now) {
  if (answer.status == 304 && conditional) return Outcome{NotModified{}};
  if (answer.status != 200) return refused_status(answer.status, to_string(key));
  const auto type = answer.header("Content-Type").value_or("");
  if (!type_fits(key, type)) {
    return Error{Errc::unsupported_media_type, to_string(key) + ": the content type " + std::string{content_type(key)} +
                                                   " expected, got \"" + std::string{type.substr(0, 64)} + '"'};
  }
  std::string chain;
  if (const auto name = issuer_chain_header(key, version); !name.empty()) {
    const auto header = answer.header(name);
    if (!header || header->empty()) return Error{Errc::missing_member, to_string(key) + ": exactly one header " + std::string{name} + " expected"};
    auto decoded = percent_decoded(*header);
    if (!decoded) return malformed(key, std::string{name} + ": an escape is not whole");
    chain = std::move(*decoded);
  }
  CLOISTER_TRY(document, read_document(key, answer.body, chain));
  if (document.expires <= now) {
    return Error{Errc::collateral_outdated, to_string(key) + ": what the service gives ended at " + to_rfc3339(document.expires)};
  }
  Validators validators{std::string{answer.header("ETag").value_or("")}, std::string{answer.header("Last-Modified").value_or("")}};
  return Outcome{Given{std::move(document), std::move(validators)}};
}

std::optional<std::chrono::seconds> retry_after(const Answer& answer, UnixTime now) {
  const auto value = answer.header("Retry-After");
  if (!value || value->empty()) return std::nullopt;
  if (const auto seconds = number_in(*value)) return std::min(std::chrono::seconds{*seconds}, kMaxWait);
  const auto date = parse_http_date(*value);
  if (!date) return std::nullopt;
  return std::clamp(std::chrono::ceil<std::chrono::seconds>(*date - now), std::chrono::seconds{0}, kMaxWait);
}

std::string to_http_date(UnixTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{std::chrono::floor<std::chrono::seconds>(time - day)};
  std::array<char, 64> out{};
  const auto weekday = kDays[std::chrono::weekday{day}.c_encoding()];
  const auto month = kMonths[static_cast<unsigned>(date.month()) - 1];
  const int size = std::snprintf(out.data(), out.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT", weekday.data(),
                                 static_cast<unsigned>(date.day()), month.data(), static_cast<int>(date.year()),
                                 static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                                 static_cast<int>(clock.seconds().count()));
  return {out.data(), static_cast<std::size_t>(size)};
}

std::optional<UnixTime> parse_http_date(std::string_view text) {
  // "Sun, 06 Nov 1994 08:49:37 GMT": every part has its place.
  constexpr std::size_t kSize = 29;
  if (text.size() != kSize || std::ranges::find(kDays, text.substr(0, 3)) == kDays.end()) return std::nullopt;
  const auto* const month = std::ranges::find(kMonths, text.substr(8, 3));
  const auto day = number_in(text.substr(5, 2));
  const auto year = number_in(text.substr(12, 4));
  const auto hour = number_in(text.substr(17, 2));
  const auto minute = number_in(text.substr(20, 2));
  const auto second = number_in(text.substr(23, 2));
  if (month == kMonths.end() || !day || !year || !hour || !minute || !second) return std::nullopt;
  const auto time = from_civil(*year, static_cast<int>(month - kMonths.begin()) + 1, *day, *hour, *minute, *second);
  if (!time || to_http_date(*time) != text) return std::nullopt;  // separators and the day of the week too
  return *time;
}

std::string escape_header(std::string_view pem) {
  constexpr std::string_view kUnreserved = "-._~";
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : pem) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (letter || kUnreserved.find(c) != std::string_view::npos) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4U], kHex[byte & 0xFU]};
  }
  return out;
}

}  // namespace cloister::collateral
