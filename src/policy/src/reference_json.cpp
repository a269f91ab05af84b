#include "reference_json.hpp"

#include "cloister/codec/text.hpp"

namespace cloister::policy {

std::string sha256_text(const Digest32& digest) { return "sha256:" + codec::to_hex(digest); }

Digest32 sha256_member(codec::json::Fields& fields, std::string_view name) {
  const auto text = fields.string(name);
  if (fields.failed()) return {};
  constexpr std::string_view kPrefix = "sha256:";
  if (text.starts_with(kPrefix)) {
    if (const auto digest = codec::array_from_hex<32>(std::string_view{text}.substr(kPrefix.size()))) return *digest;
  }
  fields.fail(Errc::malformed, name, "\"sha256:\" and 64 hex digits expected");
  return {};
}

}  // namespace cloister::policy
