#include "cloister/policy/policy.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "dcap_json.hpp"
#include "measurement_kind.hpp"
#include "reference_json.hpp"
#include "snp_json.hpp"

namespace cloister::policy {
namespace {

namespace json = codec::json;
using attestation::TcbStatus;

constexpr std::size_t kMaxList = 4096;
constexpr std::array kTees = {Tee::sgx, Tee::tdx, Tee::snp};
constexpr std::array<std::string_view, 4> kRtmrNames = {"rtmr0", "rtmr1", "rtmr2", "rtmr3"};

bool never_acceptable(TcbStatus status) { return status == TcbStatus::revoked || status == TcbStatus::not_supported; }

std::vector<TcbStatus> read_statuses(json::Fields& fields, std::string_view name) {
  std::vector<TcbStatus> out;
  for (const auto& item : fields.array(name)) {
    const auto* text = item.as_string();
    const auto status = text == nullptr ? std::nullopt : attestation::tcb_status_from_string(*text);
    if (!status || never_acceptable(*status)) {
      fields.fail(Errc::malformed, name, "TCB statuses expected that a policy may accept");
      return out;
    }
    if (std::ranges::find(out, *status) == out.end()) out.push_back(*status);
  }
  std::ranges::sort(out);  // equal policies read equal
  return out;
}

std::optional<std::vector<Tee>> read_tees(json::Fields& fields, std::string_view name) {
  const auto* given = fields.optional_any(name);
  if (given == nullptr || given->is_null()) return std::nullopt;
  std::vector<Tee> out;
  for (const auto& item : fields.array(name)) {
    const auto* text = item.as_string();
    const auto tee = std::ranges::find_if(kTees, [&](Tee one) { return text != nullptr && *text == to_string(one); });
    if (tee == kTees.end()) {
      fields.fail(Errc::malformed, name, "a list of \"sgx\", \"tdx\", \"snp\" expected");
      return out;
    }
    if (std::ranges::find(out, *tee) == out.end()) out.push_back(*tee);
  }
  std::ranges::sort(out);
  return out;
}

std::vector<std::string> read_texts(json::Fields& fields, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& item : fields.array(name)) {
    const auto* text = item.as_string();
    if (text == nullptr || text->empty() || out.size() == kMaxList) {
      fields.fail(Errc::malformed, name, "a list of advisory ids expected");
      return out;
    }
    out.push_back(*text);
  }
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

template <std::size_t N>
std::optional<ByteArray<N>> optional_digest(json::Fields& fields, std::string_view name) {
  const auto* value = fields.optional_any(name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return fields.hex_array<N>(name);
}

std::optional<std::uint16_t> optional_u16(json::Fields& fields, std::string_view name) {
  const auto number = fields.optional_integer(name, 0, 0xFFFF);
  return number ? std::optional{static_cast<std::uint16_t>(*number)} : std::nullopt;
}

Result<Measurements> read_reference(const json::Value& value) {
  json::Fields fields{value, "measurement"};
  ReferenceValue reference;
  reference.mrtd = fields.hex_array<48>("mrtd");
  reference.image_digest = sha256_member(fields, "image_digest");
  reference.configuration_digest = sha256_member(fields, "configuration_digest");
  CLOISTER_CHECK(fields.finish());
  return measurements_of(reference);
}

Result<Measurements> read_measurements(const json::Value& value) {
  if (value.as_object() != nullptr && value.find("image_digest") != nullptr) return read_reference(value);
  json::Fields fields{value, "measurement"};
  Measurements out;
  out.mrtd = optional_digest<48>(fields, "mrtd");
  for (std::size_t i = 0; i < kRtmrNames.size(); ++i) out.rtmr[i] = optional_digest<48>(fields, kRtmrNames[i]);
  out.mr_config_id = optional_digest<48>(fields, "mr_config_id");
  out.mr_owner = optional_digest<48>(fields, "mr_owner");
  out.mr_owner_config = optional_digest<48>(fields, "mr_owner_config");
  out.mr_enclave = optional_digest<32>(fields, "mr_enclave");
  out.mr_signer = optional_digest<32>(fields, "mr_signer");
  out.isv_prod_id = optional_u16(fields, "isv_prod_id");
  out.min_isv_svn = optional_u16(fields, "min_isv_svn");
  out.measurement = optional_digest<48>(fields, "measurement");
  out.host_data = optional_digest<32>(fields, "host_data");
  out.id_key_digest = optional_digest<48>(fields, "id_key_digest");
  out.author_key_digest = optional_digest<48>(fields, "author_key_digest");
  out.family_id = optional_digest<16>(fields, "family_id");
  out.image_id = optional_digest<16>(fields, "image_id");
  if (const auto svn = fields.optional_integer("min_guest_svn", 0, UINT32_MAX)) {
    out.min_guest_svn = static_cast<std::uint32_t>(*svn);
  }
  CLOISTER_CHECK(fields.finish());
  if (int{of_td(out)} + int{of_enclave(out)} + int{of_snp_guest(out)} != 1) {
    return Error{Errc::malformed, "measurement: members of a TD, of an enclave or of an SNP guest expected, of exactly one"};
  }
  return out;
}

template <std::size_t N>
json::Value hex_or_null(const std::optional<ByteArray<N>>& value) {
  return value ? json::Value{codec::to_hex(*value)} : json::Value{};
}
template <class Number>
json::Value number_or_null(const std::optional<Number>& value) {
  return value ? json::Value{std::int64_t{*value}} : json::Value{};
}

json::Value to_json(const Measurements& m) {
  json::Object out;
  out.emplace_back("mrtd", hex_or_null(m.mrtd));
  for (std::size_t i = 0; i < kRtmrNames.size(); ++i) out.emplace_back(std::string{kRtmrNames[i]}, hex_or_null(m.rtmr[i]));
  out.emplace_back("mr_config_id", hex_or_null(m.mr_config_id));
  out.emplace_back("mr_owner", hex_or_null(m.mr_owner));
  out.emplace_back("mr_owner_config", hex_or_null(m.mr_owner_config));
  out.emplace_back("mr_enclave", hex_or_null(m.mr_enclave));
  out.emplace_back("mr_signer", hex_or_null(m.mr_signer));
  out.emplace_back("isv_prod_id", number_or_null(m.isv_prod_id));
  out.emplace_back("min_isv_svn", number_or_null(m.min_isv_svn));
  out.emplace_back("measurement", hex_or_null(m.measurement));
  out.emplace_back("host_data", hex_or_null(m.host_data));
  out.emplace_back("id_key_digest", hex_or_null(m.id_key_digest));
  out.emplace_back("author_key_digest", hex_or_null(m.author_key_digest));
  out.emplace_back("family_id", hex_or_null(m.family_id));
  out.emplace_back("image_id", hex_or_null(m.image_id));
  out.emplace_back("min_guest_svn", number_or_null(m.min_guest_svn));
  return json::Value{std::move(out)};
}

json::Value texts(const std::vector<std::string>& list) {
  json::Array out;
  for (const auto& text : list) out.emplace_back(text);
  return json::Value{std::move(out)};
}

Result<Policy> read_policy(const json::Value& value) {
  json::Fields fields{value, "policy"};
  Policy out;
  static_cast<void>(fields.integer("version", 1, 1));
  const auto flag = [&](std::string_view name, bool& into) { into = fields.optional_boolean(name).value_or(into); };
  out.accepted_tees = read_tees(fields, "accepted_tees");
  if (fields.optional_any("accepted_statuses") != nullptr) out.accepted_statuses = read_statuses(fields, "accepted_statuses");
  flag("allow_debug", out.allow_debug);
  flag("allow_migratable", out.allow_migratable);
  flag("allow_trailing_bytes", out.allow_trailing_bytes);
  flag("require_ve_disable", out.require_ve_disable);
  flag("allow_reserved_attributes", out.allow_reserved_attributes);
  out.min_evaluation_data_number =
      static_cast<std::uint32_t>(fields.optional_integer("min_evaluation_data_number", 0, UINT32_MAX).value_or(0));
  if (const auto* allowed = fields.optional_any("allowed_advisories"); allowed != nullptr && !allowed->is_null()) {
    out.allowed_advisories = read_texts(fields, "allowed_advisories");
  }
  if (fields.optional_any("denied_advisories") != nullptr) out.denied_advisories = read_texts(fields, "denied_advisories");
  const auto& measurements = fields.optional_array("measurements");
  const auto* dcap = fields.optional_object("dcap");
  const auto* snp = fields.optional_object("snp");
  if (measurements.size() > kMaxList) fields.fail(Errc::limit_exceeded, "measurements", "too many");
  CLOISTER_CHECK(fields.finish());
  for (const auto& item : measurements) {
    CLOISTER_TRY(one, read_measurements(item));
    out.measurements.push_back(one);
  }
  if (dcap != nullptr) {
    CLOISTER_TRY(read, read_dcap_policy(*dcap));
    out.dcap = std::move(read);
  }
  if (snp != nullptr) {
    CLOISTER_TRY(read, read_snp_policy(*snp));
    out.snp = std::move(read);
  }
  return out;
}

}  // namespace

Result<Policy> parse_policy(std::string_view text) {
  const auto invalid = [](const Error& error) { return Error{Errc::policy_invalid, error.text()}; };
  auto value = json::parse(text, {.bytes = kMaxPolicySize, .depth = 8, .values = 100'000});
  if (!value) return invalid(value.error());
  auto policy = read_policy(*value);
  if (!policy) return invalid(policy.error());
  return policy;
}

json::Value to_json(const Policy& policy) {
  json::Array statuses;
  for (const auto status : attestation::kTcbStatuses) {
    if (std::ranges::find(policy.accepted_statuses, status) != policy.accepted_statuses.end()) {
      statuses.emplace_back(attestation::to_string(status));
    }
  }
  json::Value tees;
  if (policy.accepted_tees) {
    json::Array names;
    for (const auto tee : kTees) {
      if (std::ranges::find(*policy.accepted_tees, tee) != policy.accepted_tees->end()) names.emplace_back(to_string(tee));
    }
    tees = json::Value{std::move(names)};
  }
  json::Array measurements;
  for (const auto& one : policy.measurements) measurements.push_back(to_json(one));
  json::Object out;
  out.emplace_back("version", 1);
  out.emplace_back("accepted_tees", std::move(tees));
  out.emplace_back("accepted_statuses", std::move(statuses));
  out.emplace_back("allow_debug", policy.allow_debug);
  out.emplace_back("allow_migratable", policy.allow_migratable);
  out.emplace_back("allow_trailing_bytes", policy.allow_trailing_bytes);
  out.emplace_back("require_ve_disable", policy.require_ve_disable);
  out.emplace_back("allow_reserved_attributes", policy.allow_reserved_attributes);
  out.emplace_back("min_evaluation_data_number", policy.min_evaluation_data_number);
  out.emplace_back("allowed_advisories", policy.allowed_advisories ? texts(*policy.allowed_advisories) : json::Value{});
  out.emplace_back("denied_advisories", texts(policy.denied_advisories));
  out.emplace_back("measurements", std::move(measurements));
  out.emplace_back("dcap", to_json(policy.dcap));
  out.emplace_back("snp", to_json(policy.snp));
  return json::Value{std::move(out)};
}

Digest32 digest(const Policy& policy) { return crypto::sha256(as_bytes(json::write(to_json(policy)))); }

}  // namespace cloister::policy
