#include "cloister/rcar/attestation.hpp"

#include <algorithm>

#include "cloister/codec/jcs.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::rcar {
namespace {

namespace json = codec::json;

// Reports are also sent as lists of byte values.
constexpr json::Limits kLimits{.bytes = kMaxAttestationSize, .depth = 32, .values = 400'000};
constexpr std::size_t kMaxDevices = 16;

Result<std::optional<InitData>> read_init_data(const json::Value* value) {
  if (value == nullptr) return std::optional<InitData>{};
  json::Fields fields{*value, "attestation.init-data"};
  InitData out;
  out.format = fields.string("format");
  out.body = fields.string("body");
  CLOISTER_CHECK(fields.finish_lenient());
  return std::optional{std::move(out)};
}

Result<Digest48> digest_of(const json::Value& value) {
  CLOISTER_TRY(text, json::canonical(value));
  return crypto::sha384(as_bytes(text));
}

}  // namespace

Result<Attestation> parse_attestation(std::string_view text) {
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("attestation");
  json::Fields fields{*value, "attestation"};
  const auto* init_data = fields.optional_object("init-data");
  const auto& runtime = fields.object("runtime-data");
  const auto& evidence = fields.object("tee-evidence");
  CLOISTER_CHECK(fields.finish_lenient());
  json::Fields runtime_fields{runtime, "attestation.runtime-data"};
  auto nonce = runtime_fields.string("nonce");
  const auto& jwk = runtime_fields.object("tee-pubkey");
  CLOISTER_CHECK(runtime_fields.finish_lenient());
  json::Fields evidence_fields{evidence, "attestation.tee-evidence"};
  const auto& primary = evidence_fields.any("primary_evidence");
  auto additional = evidence_fields.string("additional_evidence");
  CLOISTER_CHECK(evidence_fields.finish_lenient());
  auto key = crypto::jose::EncryptionKey::parse(jwk);
  if (!key) return key.error().in("attestation.runtime-data.tee-pubkey");
  CLOISTER_TRY(configured, read_init_data(init_data));
  return Attestation{std::move(configured), std::move(nonce), *std::move(key), std::string{primary.raw(text)}, std::move(additional)};
}

std::string write(const Attestation& attestation) {
  auto primary = json::parse(attestation.primary_evidence, kLimits);
  CLOISTER_ASSERT(primary.ok());
  json::Value init_data;
  if (attestation.init_data) {
    init_data = json::Object{{"format", attestation.init_data->format}, {"body", attestation.init_data->body}};
  }
  return json::write(json::Object{
      {"init-data", std::move(init_data)},
      {"runtime-data", json::Object{{"nonce", attestation.nonce}, {"tee-pubkey", attestation.tee_key.to_json()}}},
      {"tee-evidence", json::Object{{"primary_evidence", *std::move(primary)},
                                    {"additional_evidence", attestation.additional_evidence}}}});
}

Result<std::vector<DeviceEvidence>> parse_additional_evidence(std::string_view text) {
  std::vector<DeviceEvidence> out;
  if (text.empty()) return out;
  auto value = json::parse(text, kLimits);
  if (!value) return value.error().in("additional_evidence");
  const auto* members = value->as_object();
  if (members == nullptr) return Error{Errc::malformed, "additional_evidence: an object of devices expected"};
  if (members->size() > kMaxDevices) return Error{Errc::limit_exceeded, "additional_evidence: at most 16 devices expected"};
  for (const auto& [name, evidence] : *members) {
    const auto device = tee_from_string(name);
    if (!device) return Error{Errc::unsupported, "additional_evidence: no device is called " + name};
    const auto twice = [&](const DeviceEvidence& one) { return one.device == *device; };  // by its other name
    if (std::ranges::any_of(out, twice)) return Error{Errc::duplicate_member, "additional_evidence: " + name + " comes twice"};
    out.push_back({*device, evidence});
  }
  return out;
}

Result<Digest48> primary_report_data(std::string_view nonce, const crypto::jose::EncryptionKey& key,
                                     std::string_view additional_evidence) {
  return digest_of(json::Object{
      {"additional-evidence", additional_evidence}, {"nonce", nonce}, {"tee-pubkey", key.to_json()}});
}

Result<Digest48> device_report_data(std::string_view nonce, const crypto::jose::EncryptionKey& key) {
  return digest_of(json::Object{{"nonce", nonce}, {"tee-pubkey", key.to_json()}});
}

Digest64 padded(const Digest48& report_data) noexcept {
  Digest64 out{};
  std::ranges::copy(report_data, out.begin());
  return out;
}

}  // namespace cloister::rcar
