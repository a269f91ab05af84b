#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cloister/collateral/key.hpp"
#include "cloister/collateral/service.hpp"
#include "cloister/core/time.hpp"

/// What a service's answer gives. Pure. That a document is what was asked for, is whole and has dates is checked here;
/// its signatures are the verification's.
namespace cloister::collateral {

struct Document {
  Key key;
  Bytes body;                // JSON as it came; CRLs and certificates in DER; a certificate chain in PEM
  std::string issuer_chain;  // PEM, signer first; empty for kinds that have none, and for a PCK CRL from a file without it
  UnixTime issued{};         // issueDate, thisUpdate, notBefore
  UnixTime expires{};        // nextUpdate or notAfter; of the issuer chain too, whichever is first
  std::optional<std::uint32_t> evaluation_number;  // tcbEvaluationDataNumber
  friend bool operator==(const Document&, const Document&) = default;
};

/// The document of `key` from its bytes, in any encoding that services use. `collateral_malformed` when it cannot be
/// read, `collateral_mismatch` when it is another than the key's, `missing_member` without an issuer chain where its kind
/// has one (but for PCK CRLs, whose issuer a quote brings: many files of collateral do without), `limit_exceeded`.
[[nodiscard]] Result<Document> read_document(const Key& key, ByteView body, std::string_view issuer_chain_pem);

/// An answer as the transport has it.
struct Answer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  Bytes body;
  /// The value of the only header of that name, whatever its case; nothing when there is none or more than one.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const noexcept;
};

/// What a conditional request (RFC 9110 section 13) names; empty where the service gave none.
struct Validators {
  std::string etag;
  std::string last_modified;
  [[nodiscard]] bool empty() const noexcept { return etag.empty() && last_modified.empty(); }
  friend bool operator==(const Validators&, const Validators&) = default;
};

struct NotModified {};
struct Given {
  Document document;
  Validators validators;
};
using Outcome = std::variant<NotModified, Given>;

/// What an answer to the request for `key` says. `conditional`: the request named validators, so 304 is an answer.
/// Refusals, beside those of `read_document`: `collateral_missing` (404, 410, and the caching services' 461 and 462),
/// `rate_limited` (429), `unavailable` (5xx), `unsupported` (a redirection), `invalid_argument` (any other status),
/// `unsupported_media_type` for a content type of another kind, `collateral_outdated` for a document whose time is over.
[[nodiscard]] Result<Outcome> interpret(const Key& key, ApiVersion version, const Answer& answer, bool conditional,
                                        UnixTime now);

/// The wait that a Retry-After header asks for (RFC 9110 section 10.2.3): seconds or an HTTP date, at most a day; nothing
/// when there is none that can be read.
[[nodiscard]] std::optional<std::chrono::seconds> retry_after(const Answer& answer, UnixTime now);

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7, the one form that may be sent).
[[nodiscard]] std::string to_http_date(UnixTime time);
[[nodiscard]] std::optional<UnixTime> parse_http_date(std::string_view text);

/// PEM as services put it into headers: everything escaped but unreserved characters (RFC 3986 section 2.3).
[[nodiscard]] std::string escape_header(std::string_view pem);

}  // namespace cloister::collateral
