#include "documents.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/hashed_text.hpp"

namespace cloister::evidence {
namespace {

struct StatusName {
  TcbStatus status;
  std::string_view name;
};
constexpr std::array kStatusNames{
    StatusName{TcbStatus::up_to_date, "UpToDate"},
    StatusName{TcbStatus::sw_hardening_needed, "SWHardeningNeeded"},
    StatusName{TcbStatus::configuration_needed, "ConfigurationNeeded"},
    StatusName{TcbStatus::configuration_and_sw_hardening_needed, "ConfigurationAndSWHardeningNeeded"},
    StatusName{TcbStatus::out_of_date, "OutOfDate"},
    StatusName{TcbStatus::out_of_date_configuration_needed, "OutOfDateConfigurationNeeded"},
    StatusName{TcbStatus::revoked, "Revoked"},
};

}  // namespace

std::string_view to_string(TcbStatus status) noexcept {
  const auto found = std::ranges::find(kStatusNames, status, &StatusName::status);
  return found == kStatusNames.end() ? "unknown" : found->name;
}

std::optional<TcbStatus> tcb_status_from_string(std::string_view text) noexcept {
  const auto found = std::ranges::find(kStatusNames, text, &StatusName::name);
  if (found == kStatusNames.end()) return std::nullopt;
  return found->status;
}

}  // namespace cloister::evidence

namespace cloister::evidence {

HashedText::HashedText(std::string text) : text_{std::move(text)}, digest_{crypto::sha256(as_bytes(text_))} {}

}  // namespace cloister::evidence

namespace cloister::evidence::documents {
namespace {

constexpr std::size_t kMaxAdvisoryLength = 64;

}  // namespace

Error refused(const Error& cause, std::string_view document) {
  const auto code = cause.code() == Errc::limit_exceeded ? Errc::limit_exceeded : Errc::collateral_malformed;
  return Error{code, cause.detail()}.in(document);
}

Result<json::Value> parse_text(std::string_view text, std::string_view document) {
  json::Limits limits;
  limits.bytes = kMaxTcbDocumentSize;
  auto value = json::parse(text, limits);
  if (!value) return refused(value.error(), document);
  return value;
}

Result<Envelope> open_envelope(std::string_view text, std::string_view member) {
  CLOISTER_TRY(root, parse_text(text, member));
  json::Fields fields{root, std::string{member} + " envelope"};
  Envelope out;
  const auto& value = fields.object(member);
  out.signature = fields.hex_array<64>("signature");
  if (const auto done = fields.finish_lenient(); !done) return refused(done.error(), "envelope");
  out.body = std::string{value.raw(text)};
  for (auto& entry : *root.as_object()) {
    if (entry.first == member) out.value = std::move(entry.second);
  }
  return out;
}

std::string write_envelope(std::string_view member, std::string_view body, const ByteArray<64>& signature) {
  std::string out = "{\"";
  out.append(member).append("\":").append(body).append(",\"signature\":\"").append(codec::to_hex(signature));
  return out.append("\"}");
}

UnixTime time(json::Fields& fields, std::string_view name) {
  const auto text = fields.string(name);
  if (fields.failed()) return {};
  const auto parsed = parse_rfc3339(text);
  if (parsed) return *parsed;
  fields.fail(Errc::malformed, name, parsed.error().detail());
  return {};
}

TcbStatus status(json::Fields& fields, std::string_view name) {
  const auto text = fields.string(name);
  if (fields.failed()) return TcbStatus::revoked;
  if (const auto known = tcb_status_from_string(text)) return *known;
  fields.fail(Errc::malformed, name, "not a TCB status: \"" + text.substr(0, kMaxAdvisoryLength) + '"');
  return TcbStatus::revoked;
}

std::vector<std::string> advisories(json::Fields& fields) {
  constexpr std::string_view kName = "advisoryIDs";
  std::vector<std::string> out;
  const auto& items = fields.optional_array(kName);
  if (items.size() > kMaxAdvisories) fields.fail(Errc::limit_exceeded, kName, "too many");
  for (const auto& item : items) {
    if (fields.failed()) return {};
    const auto* text = item.as_string();
    if (text != nullptr && text->size() <= kMaxAdvisoryLength) {
      out.push_back(*text);
    } else {
      fields.fail(Errc::malformed, kName, "short texts expected");
    }
  }
  return out;
}

std::vector<IsvTcbLevel> isv_levels(json::Fields& fields) {
  constexpr std::string_view kName = "tcbLevels";
  const auto& items = fields.array(kName);
  if (items.empty()) fields.fail(Errc::malformed, kName, "at least one level expected");
  if (items.size() > kMaxTcbLevels) fields.fail(Errc::limit_exceeded, kName, "too many");
  std::vector<IsvTcbLevel> out;
  for (const auto& item : items) {
    if (fields.failed()) return {};
    json::Fields level{item, "level " + std::to_string(out.size())};
    IsvTcbLevel read;
    json::Fields tcb{level.object("tcb"), "tcb"};
    read.isv_svn = static_cast<std::uint16_t>(tcb.integer("isvsvn", 0, 0xFFFF));
    read.tcb_date = time(level, "tcbDate");
    read.status = status(level, "tcbStatus");
    read.advisory_ids = advisories(level);
    for (auto* part : {&level, &tcb}) {
      const auto done = part->finish_lenient();
      if (!done) fields.fail(done.error().code(), kName, done.error().detail());
    }
    out.push_back(std::move(read));
  }
  return out;
}

void write_level_status(json::Object& out, UnixTime date, TcbStatus status, const std::vector<std::string>& advisories) {
  out.emplace_back("tcbDate", to_rfc3339(date));
  out.emplace_back("tcbStatus", to_string(status));
  if (advisories.empty()) return;
  json::Array ids;
  for (const auto& id : advisories) ids.emplace_back(id);
  out.emplace_back("advisoryIDs", std::move(ids));
}

json::Array write_isv_levels(const std::vector<IsvTcbLevel>& levels) {
  json::Array out;
  for (const auto& level : levels) {
    json::Object tcb;
    tcb.emplace_back("isvsvn", static_cast<std::int64_t>(level.isv_svn));
    json::Object item;
    item.emplace_back("tcb", std::move(tcb));
    write_level_status(item, level.tcb_date, level.status, level.advisory_ids);
    out.emplace_back(std::move(item));
  }
  return out;
}

std::string upper_hex(ByteView bytes) {
  auto text = codec::to_hex(bytes);
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c; });
  return text;
}

}  // namespace cloister::evidence::documents
