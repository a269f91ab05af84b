#include "cloister/model/challenge.hpp"

#include <algorithm>

#include "cloister/codec/cbor.hpp"
#include "cloister/model/derived_key.hpp"
#include "json_util.hpp"

namespace cloister::model {
namespace {

using codec::json::Array;
using codec::json::Fields;
using codec::json::Object;
using codec::json::Value;

constexpr std::uint32_t kMaxMemoryMib = 1U << 20;
constexpr std::uint32_t kMaxInstances = 64;
constexpr std::int64_t kMaxJobSeconds = 24 * 3600;
constexpr std::int64_t kMaxMessageBytes = 64 << 20;
constexpr std::size_t kMaxSecrets = 32;
constexpr std::size_t kMaxPurposes = 8;

Digest32 digest_member(Fields& fields, std::string_view member) {
  const auto text = fields.string(member);
  if (fields.failed()) return {};
  auto parsed = parse_digest(text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return {};
  }
  return *parsed;
}

Result<std::vector<SecretRef>> parse_secrets(const Array& list) {
  if (list.size() > kMaxSecrets) {
    return Error{Errc::limit_exceeded, "secrets: at most 32, got " + std::to_string(list.size())};
  }
  std::vector<SecretRef> secrets;
  for (const auto& item : list) {
    Fields fields{item, "secrets"};
    SecretRef secret{fields.string("name"), fields.string("path")};
    CLOISTER_CHECK(fields.finish());
    if (!valid_id(secret.name)) return Error{Errc::invalid_argument, "secrets: name: an id expected"};
    if (!valid_secret_path(secret.path)) {
      return Error{Errc::invalid_argument, "secrets: path: 1 to 4 ids joined by '/' expected"};
    }
    if (std::ranges::any_of(secrets, [&](const SecretRef& other) { return other.name == secret.name; })) {
      return Error{Errc::invalid_argument, "secrets: the name '" + secret.name + "' stands twice"};
    }
    secrets.push_back(std::move(secret));
  }
  return secrets;
}

Result<std::vector<std::string>> parse_purposes(const Array& list) {
  if (list.size() > kMaxPurposes) {
    return Error{Errc::limit_exceeded, "derived_keys: at most 8, got " + std::to_string(list.size())};
  }
  std::vector<std::string> purposes;
  for (const auto& item : list) {
    const auto* text = item.as_string();
    if (text == nullptr || !valid_purpose(*text)) {
      return Error{Errc::invalid_argument, "derived_keys: an id of at most 40 characters expected in each"};
    }
    if (std::ranges::find(purposes, *text) != purposes.end()) {
      return Error{Errc::invalid_argument, "derived_keys: '" + *text + "' stands twice"};
    }
    purposes.push_back(*text);
  }
  return purposes;
}

}  // namespace

bool valid_secret_path(std::string_view path) noexcept {
  std::size_t parts = 0;
  for (;;) {
    const auto slash = path.find('/');
    if (!valid_id(path.substr(0, slash)) || ++parts > 4) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string digest_text(const Digest32& digest) { return "sha256:" + codec::to_hex(digest); }

Result<Digest32> parse_digest(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) return Error{Errc::malformed, "a digest begins with 'sha256:'"};
  text.remove_prefix(kPrefix.size());
  if (std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'F'; })) {
    return Error{Errc::malformed, "a digest is written in lower case"};
  }
  return codec::array_from_hex<32>(text);
}

Result<ChallengeSpec> parse_challenge_spec(const Value& value) {
  Fields fields{value, "challenge specification"};
  ChallengeSpec spec;
  spec.challenge = detail::id<ChallengeId>(fields, "challenge");
  spec.image_digest = digest_member(fields, "image_digest");
  spec.memory_mib =
      static_cast<std::uint32_t>(fields.optional_integer("memory_mib", 16, kMaxMemoryMib).value_or(spec.memory_mib));
  spec.instances =
      static_cast<std::uint32_t>(fields.optional_integer("instances", 0, kMaxInstances).value_or(spec.instances));
  spec.job_timeout = std::chrono::seconds{
      fields.optional_integer("job_timeout_s", 1, kMaxJobSeconds).value_or(spec.job_timeout.count())};
  spec.max_payload_bytes = static_cast<std::uint64_t>(
      fields.optional_integer("max_payload_bytes", 1, kMaxMessageBytes).value_or(static_cast<std::int64_t>(spec.max_payload_bytes)));
  spec.max_output_bytes = static_cast<std::uint64_t>(
      fields.optional_integer("max_output_bytes", 1, kMaxMessageBytes).value_or(static_cast<std::int64_t>(spec.max_output_bytes)));
  const auto& secrets = fields.optional_array("secrets");
  const auto& purposes = fields.optional_array("derived_keys");
  const auto* demand = fields.optional_object("server_evidence");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(parsed, parse_secrets(secrets));
  spec.secrets = std::move(parsed);
  CLOISTER_TRY(derived_keys, parse_purposes(purposes));
  spec.derived_keys = std::move(derived_keys);
  if (demand != nullptr) {
    CLOISTER_TRY(server_evidence, parse_evidence_demand(*demand));
    spec.server_evidence = std::move(server_evidence);
  }
  return spec;
}

Value to_json(const ChallengeSpec& spec) {
  Array secrets;
  for (const auto& secret : spec.secrets) {
    secrets.emplace_back(Object{{"name", secret.name}, {"path", secret.path}});
  }
  Object out{{"challenge", spec.challenge.str()},
             {"image_digest", digest_text(spec.image_digest)},
             {"memory_mib", spec.memory_mib},
             {"instances", spec.instances},
             {"job_timeout_s", std::int64_t{spec.job_timeout.count()}},
             {"max_payload_bytes", spec.max_payload_bytes},
             {"max_output_bytes", spec.max_output_bytes},
                {"secrets", std::move(secrets)}};
  if (!spec.derived_keys.empty()) {
    out.emplace_back("derived_keys", Array(spec.derived_keys.begin(), spec.derived_keys.end()));
  }
  if (spec.server_evidence) out.emplace_back("server_evidence", to_json(*spec.server_evidence));
  return out;
}

Bytes encode(const ChallengeSpec& spec) {
  // The list of keys is there too where the demand follows it, so that a place means one thing.
  const bool keys = !spec.derived_keys.empty() || spec.server_evidence;
  codec::cbor::Writer out;
  out.array(9U + unsigned{keys} + unsigned{spec.server_evidence.has_value()}).text("cloister/version/1").text(spec.challenge.str()).bytes(spec.image_digest);
  out.uint(spec.memory_mib).uint(spec.instances).uint(static_cast<std::uint64_t>(spec.job_timeout.count()));
  out.uint(spec.max_payload_bytes).uint(spec.max_output_bytes).array(spec.secrets.size());
  for (const auto& secret : spec.secrets) out.array(2).text(secret.name).text(secret.path);
  if (keys) {
    out.array(spec.derived_keys.size());
    for (const auto& purpose : spec.derived_keys) out.text(purpose);
  }
  if (spec.server_evidence) write(out, *spec.server_evidence);
  return std::move(out).take();
}

Result<ReferenceValue> parse_reference_value(const Value& value) {
  Fields fields{value, "reference value"};
  ReferenceValue reference;
  reference.mrtd = fields.hex_array<48>("mrtd");
  reference.image_digest = digest_member(fields, "image_digest");
  reference.configuration_digest = digest_member(fields, "configuration_digest");
  CLOISTER_CHECK(fields.finish());
  return reference;
}

Value to_json(const ReferenceValue& value) {
  return Object{{"mrtd", codec::to_hex(value.mrtd)},
                {"image_digest", digest_text(value.image_digest)},
                {"configuration_digest", digest_text(value.configuration_digest)}};
}

Value to_json(const Version& version) {
  return Object{{"id", version.id.str()},
                {"spec", to_json(version.spec)},
                {"configuration", codec::to_base64(version.configuration)},
                {"reference_value", to_json(version.reference)},
                {"active", version.active},
                {"registered", to_rfc3339(version.registered)}};
}

Result<Version> parse_version(const Value& value) {
  Fields fields{value, "version"};
  Version version;
  version.id = detail::id<VersionId>(fields, "id");
  const auto& spec = fields.object("spec");
  version.configuration = fields.base64("configuration");
  const auto& reference = fields.object("reference_value");
  version.active = fields.boolean("active");
  version.registered = detail::time(fields, "registered");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(parsed_spec, parse_challenge_spec(spec));
  CLOISTER_TRY(parsed_reference, parse_reference_value(reference));
  version.spec = std::move(parsed_spec);
  version.reference = parsed_reference;
  return version;
}

}  // namespace cloister::model
