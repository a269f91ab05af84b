#include "cloister/collateral/manifest.hpp"

#include <filesystem>
#include <utility>

#include "cloister/codec/json.hpp"
#include "cloister/collateral/bundle.hpp"

namespace cloister::collateral {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

bool is_plain_name(const std::string& name) {
  return !name.empty() && !name.starts_with('.') && name.find('\0') == std::string::npos &&
         fs::path{name}.filename() == fs::path{name};
}

Error malformed(std::string why) { return Error{Errc::collateral_malformed, std::move(why)}; }

Result<ManifestEntry> read_item(const json::Value& item) {
  json::Fields fields{item, "file"};
  ManifestEntry out{fields.string("file"), fields.optional_string("kind").value_or(""), {}};
  if (const auto* key = fields.optional_any("key"); key != nullptr && key->as_string() != nullptr) out.key = *key->as_string();
  if (auto end = fields.finish_lenient(); !end) return malformed(end.error().text());
  if (!is_plain_name(out.file)) return malformed('"' + out.file + "\" is not the name of a file in this directory");
  return out;
}

/// The list of files, wherever it stands.
Result<const json::Array*> list_in(const json::Value& value) {
  if (const auto* alone = value.as_array()) return alone;
  json::Fields fields{value, "manifest"};
  static_cast<void>(fields.optional_integer("version", 1, 1));
  const auto& list = fields.array("files");
  if (auto end = fields.finish_lenient(); !end) return malformed(end.error().text());
  return &list;
}

}  // namespace

Result<std::vector<ManifestEntry>> parse_manifest(std::string_view text) {
  const auto value = json::parse(text);
  if (!value) return malformed(value.error().text());
  CLOISTER_TRY(list, list_in(*value));
  if (list->size() > kMaxBundleFiles) return Error{Errc::limit_exceeded, "more than 1024 files"};
  std::vector<ManifestEntry> out;
  for (const auto& item : *list) {
    CLOISTER_TRY(entry, read_item(item));
    out.push_back(std::move(entry));
  }
  return out;
}

std::string write_manifest(const std::vector<ManifestEntry>& entries) {
  json::Array listed;
  for (const auto& entry : entries) {
    listed.push_back(json::Object{{"kind", entry.kind}, {"key", entry.key}, {"file", entry.file}});
  }
  const json::Value manifest = json::Object{{"version", 1}, {"files", std::move(listed)}};
  return json::write_pretty(manifest) + "\n";
}

}  // namespace cloister::collateral
