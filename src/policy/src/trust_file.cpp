#include "cloister/policy/trust_file.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "reference_json.hpp"

namespace cloister::policy {
namespace {

namespace json = codec::json;
namespace x509 = crypto::x509;
using attestation::AnchorKind;

constexpr std::size_t kMaxEntries = 1024;

Result<std::vector<x509::CertificatePtr>> read_roots(const json::Array& items, AnchorKind kind, std::string_view name) {
  std::vector<x509::CertificatePtr> out;
  for (const auto& item : items) {
    const auto* pem = item.as_string();
    if (pem == nullptr) return Error{Errc::malformed, std::string{name} + ": PEM text expected"};
    auto chain = x509::parse_chain(*pem, 1);
    if (!chain) return chain.error().in(name);
    auto anchor = attestation::TrustAnchor::make(chain->front(), kind);
    if (!anchor) return anchor.error().in(name);
    out.push_back(chain->front());
  }
  return out;
}

Result<std::vector<ByteArray<32>>> read_keys(const json::Array& items, std::string_view name) {
  std::vector<ByteArray<32>> out;
  for (const auto& item : items) {
    const auto* hex = item.as_string();
    if (hex == nullptr) return Error{Errc::malformed, std::string{name} + ": hex text expected"};
    auto key = codec::array_from_hex<32>(*hex);
    if (!key) return key.error().in(name);
    out.push_back(*key);
  }
  return out;
}

Result<ReferenceValue> read_reference(const json::Value& value) {
  json::Fields fields{value, "reference_values"};
  ReferenceValue out;
  out.challenge = fields.string("challenge");
  out.version = fields.string("version");
  out.mrtd = fields.hex_array<48>("mrtd");
  out.image_digest = sha256_member(fields, "image_digest");
  out.configuration_digest = sha256_member(fields, "configuration_digest");
  CLOISTER_CHECK(fields.finish());
  return out;
}

Result<TrustFile> read_trust(const json::Value& value) {
  json::Fields fields{value, "trust file"};
  static_cast<void>(fields.integer("version", 1, 1));
  const auto& lab_roots = fields.optional_array("lab_roots");
  const auto& roots = fields.optional_array("roots");
  const auto& audit_keys = fields.optional_array("audit_keys");
  const auto& server_keys = fields.optional_array("server_keys");
  const auto& references = fields.optional_array("reference_values");
  const auto& server_references = fields.optional_array("server_reference_values");
  CLOISTER_CHECK(fields.finish());
  for (const auto* list : {&lab_roots, &roots, &audit_keys, &server_keys, &references, &server_references}) {
    if (list->size() > kMaxEntries) return Error{Errc::limit_exceeded, "a list has more than 1024 entries"};
  }

  CLOISTER_TRY(labs, read_roots(lab_roots, AnchorKind::lab, "lab_roots"));
  CLOISTER_TRY(given, read_roots(roots, AnchorKind::given, "roots"));
  CLOISTER_TRY(audit, read_keys(audit_keys, "audit_keys"));
  CLOISTER_TRY(server, read_keys(server_keys, "server_keys"));
  TrustFile out{std::move(labs), std::move(given), std::move(audit), std::move(server), {}, {}};
  for (const auto& item : references) {
    CLOISTER_TRY(reference, read_reference(item));
    out.reference_values.push_back(std::move(reference));
  }
  for (const auto& item : server_references) {
    CLOISTER_TRY(reference, model::parse_server_reference(item));
    out.server_reference_values.push_back(reference);
  }
  return out;
}

json::Value pem_list(const std::vector<x509::CertificatePtr>& certificates) {
  json::Array out;
  for (const auto& certificate : certificates) out.emplace_back(codec::to_pem("CERTIFICATE", certificate->der));
  return json::Value{std::move(out)};
}

json::Value hex_list(const std::vector<ByteArray<32>>& keys) {
  json::Array out;
  for (const auto& key : keys) out.emplace_back(codec::to_hex(key));
  return json::Value{std::move(out)};
}

}  // namespace

Result<attestation::TrustAnchors> TrustFile::anchors(attestation::TrustAnchors out) const {
  for (const auto& [list, kind] : {std::pair{&roots, AnchorKind::given}, std::pair{&lab_roots, AnchorKind::lab}}) {
    for (const auto& root : *list) {
      CLOISTER_TRY(anchor, attestation::TrustAnchor::make(root, kind));
      out.add(std::move(anchor));
    }
  }
  return out;
}

std::vector<ReferenceValue> TrustFile::values_of(std::string_view challenge, std::string_view version) const {
  std::vector<ReferenceValue> out;
  std::ranges::copy_if(reference_values, std::back_inserter(out), [&](const ReferenceValue& value) {
    return value.challenge == challenge && value.version == version;
  });
  return out;
}

Result<TrustFile> parse_trust_file(std::string_view text) {
  const auto invalid = [](const Error& error) { return Error{Errc::trust_file_invalid, error.text()}; };
  auto value = json::parse(text, {.bytes = kMaxTrustFileSize, .depth = 8, .values = 100'000});
  if (!value) return invalid(value.error());
  auto trust = read_trust(*value);
  if (!trust) return invalid(trust.error());
  return trust;
}

std::string write_trust_file(const TrustFile& trust) {
  json::Array references;
  for (const auto& value : trust.reference_values) {
    json::Object one;
    one.emplace_back("challenge", value.challenge);
    one.emplace_back("version", value.version);
    one.emplace_back("mrtd", codec::to_hex(value.mrtd));
    one.emplace_back("image_digest", sha256_text(value.image_digest));
    one.emplace_back("configuration_digest", sha256_text(value.configuration_digest));
    references.emplace_back(std::move(one));
  }
  json::Array server_references;
  for (const auto& value : trust.server_reference_values) server_references.push_back(model::to_json(value));
  json::Object out;
  out.emplace_back("version", 1);
  out.emplace_back("lab_roots", pem_list(trust.lab_roots));
  out.emplace_back("roots", pem_list(trust.roots));
  out.emplace_back("audit_keys", hex_list(trust.audit_keys));
  out.emplace_back("server_keys", hex_list(trust.server_keys));
  out.emplace_back("reference_values", std::move(references));
  // A file without them is one that older programs read, too.
  if (!server_references.empty()) out.emplace_back("server_reference_values", std::move(server_references));
  return json::write_pretty(json::Value{std::move(out)});
}

}  // namespace cloister::policy
