#include "cloister/model/derived_key.hpp"

#include <algorithm>

#include "cloister/model/challenge.hpp"
#include "json_util.hpp"

namespace cloister::model {
namespace {

using codec::json::Array;
using codec::json::Fields;
using codec::json::Object;
using codec::json::Value;

constexpr std::size_t kMaxAllowed = 64;
constexpr std::size_t kMaxVersions = 4096;  // of one key, in a document

std::optional<Digest32> optional_digest(Fields& fields, std::string_view member) {
  const auto text = fields.optional_string(member);
  if (!text || fields.failed()) return std::nullopt;
  const auto parsed = parse_digest(*text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return std::nullopt;
  }
  return *parsed;
}

template <std::size_t N>
std::optional<ByteArray<N>> optional_hex(Fields& fields, std::string_view member) {
  const auto text = fields.optional_string(member);
  if (!text || fields.failed()) return std::nullopt;
  const auto parsed = codec::array_from_hex<N>(*text);
  if (!parsed) {
    fields.fail(parsed.error().code(), member, parsed.error().detail());
    return std::nullopt;
  }
  return *parsed;
}

Result<AllowedMeasurement> parse_measurement(const Value& value) {
  Fields fields{value, "measurements"};
  AllowedMeasurement out;
  out.mrtd = optional_hex<48>(fields, "mrtd");
  out.image_digest = optional_digest(fields, "image_digest");
  out.configuration_digest = optional_digest(fields, "configuration_digest");
  CLOISTER_CHECK(fields.finish());
  if (!out.mrtd && !out.image_digest && !out.configuration_digest) {
    return Error{Errc::invalid_argument, "measurements: mrtd, image_digest or configuration_digest expected in each"};
  }
  return out;
}

Result<TcbFloor> parse_floor(const Value& value) {
  Fields fields{value, "tcb"};
  TcbFloor out;
  out.tdx_components = optional_hex<16>(fields, "tdx_components");
  out.sgx_components = optional_hex<16>(fields, "sgx_components");
  const auto pce_svn = fields.optional_integer("pce_svn", 0, UINT16_MAX);
  if (pce_svn) out.pce_svn = static_cast<std::uint16_t>(*pce_svn);
  out.tcb_date = detail::optional_time(fields, "tcb_date");
  CLOISTER_CHECK(fields.finish());
  return out;
}

template <class T>
void set(Object& out, std::string_view name, const std::optional<T>& value, auto show) {
  if (value) out.emplace_back(std::string{name}, show(*value));
}
constexpr auto kHex = [](ByteView bytes) { return codec::to_hex(bytes); };

template <class T>
bool reaches(const std::optional<T>& floor, const std::optional<T>& other) noexcept {
  return !other || (floor && *floor >= *other);
}
bool reaches(const std::optional<ByteArray<16>>& floor, const std::optional<ByteArray<16>>& other) noexcept {
  return !other || (floor && std::ranges::equal(*floor, *other, std::ranges::greater_equal{}));
}

}  // namespace

bool valid_purpose(std::string_view text) noexcept { return text.size() <= kMaxPurpose && valid_id(text); }

bool at_least_as_high(const TcbFloor& floor, const TcbFloor& other) noexcept {
  return reaches(floor.tdx_components, other.tdx_components) && reaches(floor.sgx_components, other.sgx_components) &&
         reaches(floor.pce_svn, other.pce_svn) && reaches(floor.tcb_date, other.tcb_date);
}

Result<ReleaseConditions> parse_release_conditions(const Value& value) {
  Fields fields{value, "release conditions"};
  ReleaseConditions out;
  out.any_version = fields.optional_boolean("any_version").value_or(false);
  const auto& versions = fields.optional_array("versions");
  const auto& measurements = fields.optional_array("measurements");
  const auto* tcb = fields.optional_object("tcb");
  CLOISTER_CHECK(fields.finish());
  if (versions.size() > kMaxAllowed || measurements.size() > kMaxAllowed) {
    return Error{Errc::limit_exceeded, "versions and measurements: at most 64 of each expected"};
  }
  for (const auto& item : versions) {
    auto id = VersionId::parse(item.as_string() == nullptr ? "" : *item.as_string());
    if (!id) return id.error().in("versions");
    out.versions.push_back(*std::move(id));
  }
  for (const auto& item : measurements) {
    CLOISTER_TRY(measurement, parse_measurement(item));
    out.measurements.push_back(measurement);
  }
  if (tcb != nullptr) {
    CLOISTER_TRY(floor, parse_floor(*tcb));
    out.tcb = floor;
  }
  const bool lists = !out.versions.empty() || !out.measurements.empty();
  if (out.any_version == lists) {
    return Error{Errc::invalid_argument,
                 "who is allowed: either any_version, or versions and measurements with one entry at least, expected"};
  }
  return out;
}

Value to_json(const ReleaseConditions& conditions) {
  Object out;
  if (conditions.any_version) out.emplace_back("any_version", true);
  if (!conditions.versions.empty()) {
    Array versions;
    for (const auto& version : conditions.versions) versions.emplace_back(version.str());
    out.emplace_back("versions", std::move(versions));
  }
  if (!conditions.measurements.empty()) {
    Array measurements;
    for (const auto& measurement : conditions.measurements) {
      Object one;
      set(one, "mrtd", measurement.mrtd, kHex);
      set(one, "image_digest", measurement.image_digest, digest_text);
      set(one, "configuration_digest", measurement.configuration_digest, digest_text);
      measurements.emplace_back(std::move(one));
    }
    out.emplace_back("measurements", std::move(measurements));
  }
  if (conditions.tcb != TcbFloor{}) {
    Object tcb;
    set(tcb, "tdx_components", conditions.tcb.tdx_components, kHex);
    set(tcb, "sgx_components", conditions.tcb.sgx_components, kHex);
    set(tcb, "pce_svn", conditions.tcb.pce_svn, [](std::uint16_t svn) { return std::uint32_t{svn}; });
    set(tcb, "tcb_date", conditions.tcb.tcb_date, [](UnixTime date) { return to_rfc3339(date); });
    out.emplace_back("tcb", std::move(tcb));
  }
  return out;
}

Result<DerivedKeyVersion> parse_derived_key_version(const Value& value) {
  Fields fields{value, "derived key"};
  DerivedKeyVersion out;
  out.version = static_cast<std::uint64_t>(fields.integer("version", 1));
  const auto& conditions = fields.object("conditions");
  out.created = detail::time(fields, "created");
  out.revoked = detail::optional_time(fields, "revoked");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(parsed, parse_release_conditions(conditions));
  out.conditions = std::move(parsed);
  return out;
}

Value to_json(const DerivedKeyVersion& version) {
  Object out{{"version", version.version},
             {"conditions", to_json(version.conditions)},
             {"created", to_rfc3339(version.created)}};
  set(out, "revoked", version.revoked, [](UnixTime time) { return to_rfc3339(time); });
  return out;
}

Result<DerivedKey> parse_derived_key(const Value& value) {
  Fields fields{value, "derived key"};
  DerivedKey out;
  out.challenge = detail::id<ChallengeId>(fields, "challenge");
  out.purpose = fields.string("purpose");
  const auto& versions = fields.array("versions");
  CLOISTER_CHECK(fields.finish());
  if (!valid_purpose(out.purpose))
    return Error{Errc::invalid_argument, "purpose: an id of at most 40 characters expected"};
  if (versions.empty() || versions.size() > kMaxVersions) {
    return Error{Errc::limit_exceeded, "versions: 1 to 4096 expected"};
  }
  for (const auto& item : versions) {
    CLOISTER_TRY(version, parse_derived_key_version(item));
    out.versions.push_back(std::move(version));
  }
  return out;
}

Value to_json(const DerivedKey& key) {
  Array versions;
  for (const auto& version : key.versions) versions.push_back(to_json(version));
  return Object{{"challenge", key.challenge.str()}, {"purpose", key.purpose}, {"versions", std::move(versions)}};
}

}  // namespace cloister::model
