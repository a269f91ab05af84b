#include "cloister/collateral/entry.hpp"

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::collateral {
namespace {

namespace json = codec::json;
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kMaxNote = 1024;  // bytes of a validator or a source

UnixTime time(json::Fields& fields, std::string_view name) {
  const auto parsed = parse_rfc3339(fields.string(name));
  if (parsed) return *parsed;
  fields.fail(Errc::malformed, name, "RFC 3339 expected");
  return {};
}

std::string note(json::Fields& fields, std::string_view name) {
  auto text = fields.string(name);
  if (text.size() > kMaxNote) fields.fail(Errc::limit_exceeded, name, "longer than 1024 bytes");
  return text;
}

}  // namespace

std::string write_entry(const Entry& entry) {
  return json::write(json::Object{{"version", kVersion},
                                  {"key", to_string(entry.document.key)},
                                  {"source", entry.source},
                                  {"fetched", to_rfc3339(entry.fetched)},
                                  {"checked", to_rfc3339(entry.checked)},
                                  {"etag", entry.validators.etag},
                                  {"last_modified", entry.validators.last_modified},
                                  {"issuer_chain", entry.document.issuer_chain},
                                  {"document", codec::to_base64(entry.document.body)}});
}

Result<Entry> parse_entry(std::string_view text) {
  const auto refused = [](const Error& why) { return Error{Errc::collateral_malformed, "cached document: " + why.text()}; };
  const auto value = json::parse(text, {.bytes = kMaxEntrySize});
  if (!value) return refused(value.error());
  json::Fields fields{*value, "entry"};
  static_cast<void>(fields.integer("version", kVersion, kVersion));
  const auto key_text = fields.string("key");
  Entry out;
  out.source = note(fields, "source");
  out.fetched = time(fields, "fetched");
  out.checked = time(fields, "checked");
  out.validators.etag = note(fields, "etag");
  out.validators.last_modified = note(fields, "last_modified");
  const auto chain = fields.string("issuer_chain");
  const auto body = fields.base64("document");
  if (auto done = fields.finish(); !done) return refused(done.error());
  if (out.checked < out.fetched) return refused(Error{Errc::malformed, "checked before it was fetched"});
  const auto key = parse_key(key_text);
  if (!key) return refused(key.error());
  CLOISTER_TRY(document, read_document(*key, body, chain));
  out.document = std::move(document);
  return out;
}

}  // namespace cloister::collateral
