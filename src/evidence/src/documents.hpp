#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/tcb_info.hpp"

/// What the readers and writers of Intel's signed documents share.
namespace cloister::evidence::documents {

namespace json = codec::json;

/// Every refusal of a document's contents becomes `collateral_malformed`, except that limits keep their code.
[[nodiscard]] Error refused(const Error& cause, std::string_view document);

[[nodiscard]] Result<json::Value> parse_text(std::string_view text, std::string_view document);

/// The value that was signed, as it stood and parsed, and the signature over it.
struct Envelope {
  json::Value value;
  std::string body;
  ByteArray<64> signature{};
};
/// {"<member>":{…},"signature":"<128 hex>"}.
[[nodiscard]] Result<Envelope> open_envelope(std::string_view text, std::string_view member);
[[nodiscard]] std::string write_envelope(std::string_view member, std::string_view body, const ByteArray<64>& signature);

[[nodiscard]] UnixTime time(json::Fields& fields, std::string_view name);
[[nodiscard]] TcbStatus status(json::Fields& fields, std::string_view name);
[[nodiscard]] std::vector<std::string> advisories(json::Fields& fields);
/// `tcbLevels` of an enclave or module: at least one.
[[nodiscard]] std::vector<IsvTcbLevel> isv_levels(json::Fields& fields);
[[nodiscard]] json::Array write_isv_levels(const std::vector<IsvTcbLevel>& levels);
/// Appends tcbDate, tcbStatus and, where there are any, advisoryIDs.
void write_level_status(json::Object& out, UnixTime date, TcbStatus status, const std::vector<std::string>& advisories);
/// Upper case, as Intel writes measurements and masks.
[[nodiscard]] std::string upper_hex(ByteView bytes);

[[nodiscard]] Result<TcbInfo> read_tcb_info(const json::Value& body);
[[nodiscard]] Result<QeIdentity> read_qe_identity(const json::Value& body);

}  // namespace cloister::evidence::documents
