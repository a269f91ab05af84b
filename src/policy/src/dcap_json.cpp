#include "dcap_json.hpp"

#include <algorithm>

#include "cloister/codec/text.hpp"

namespace cloister::policy {
namespace {

namespace json = codec::json;
using Svns = ByteArray<16>;

constexpr std::int64_t kMaxGraceDays = 36'500;
constexpr std::size_t kMaxModules = 1024;

std::optional<UnixTime> read_time(json::Fields& fields, std::string_view name) {
  const auto text = fields.optional_string(name);
  if (!text) return std::nullopt;
  const auto time = parse_rfc3339(*text);
  if (time) return *time;
  fields.fail(Errc::malformed, name, "a time as 2024-03-13T00:00:00Z expected");
  return std::nullopt;
}

std::optional<Svns> read_svns(json::Fields& fields, std::string_view name) {
  const auto* given = fields.optional_any(name);
  if (given == nullptr || given->is_null()) return std::nullopt;
  const auto& items = fields.array(name);
  Svns out{};
  bool fits = items.size() == out.size();
  for (std::size_t i = 0; fits && i < out.size(); ++i) {
    const auto svn = items[i].as_int();
    fits = svn && *svn >= 0 && *svn <= 0xFF;
    if (fits) out[i] = static_cast<std::uint8_t>(*svn);
  }
  if (!fits) fields.fail(Errc::malformed, name, "16 numbers from 0 to 255 expected");
  return out;
}

std::vector<Digest48> read_modules(json::Fields& fields, std::string_view name) {
  std::vector<Digest48> out;
  for (const auto& item : fields.optional_array(name)) {
    const auto* text = item.as_string();
    const auto digest = text == nullptr ? Result<Digest48>{Error{Errc::malformed}} : codec::array_from_hex<48>(*text);
    if (!digest || out.size() == kMaxModules) {
      fields.fail(Errc::malformed, name, "a list of 48 bytes of hex each expected");
      return out;
    }
    out.push_back(*digest);
  }
  std::ranges::sort(out);  // equal policies read equal
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

json::Value write_svns(const std::optional<Svns>& svns) {
  if (!svns) return {};
  json::Array out;
  for (const auto svn : *svns) out.emplace_back(std::int64_t{svn});
  return json::Value{std::move(out)};
}

json::Value write_modules(const std::vector<Digest48>& modules) {
  json::Array out;
  for (const auto& module : modules) out.emplace_back(codec::to_hex(module));
  return json::Value{std::move(out)};
}

template <class Number>
json::Value number_or_null(const std::optional<Number>& value) {
  return value ? json::Value{std::int64_t{*value}} : json::Value{};
}

}  // namespace

Result<DcapPolicy> read_dcap_policy(const json::Value& value) {
  json::Fields fields{value, "dcap"};
  DcapPolicy out;
  const auto flag = [&](std::string_view name, bool& into) { into = fields.optional_boolean(name).value_or(into); };
  out.min_tcb_date = read_time(fields, "min_tcb_date");
  if (const auto days = fields.optional_integer("grace_period_days", 0, kMaxGraceDays)) {
    out.grace_period_days = static_cast<std::uint32_t>(*days);
  }
  out.min_sgx_components = read_svns(fields, "min_sgx_components");
  out.min_tdx_components = read_svns(fields, "min_tdx_components");
  if (const auto svn = fields.optional_integer("min_pce_svn", 0, 0xFFFF)) out.min_pce_svn = static_cast<std::uint16_t>(*svn);
  out.mr_seam = read_modules(fields, "mr_seam");
  out.mr_signer_seam = read_modules(fields, "mr_signer_seam");
  flag("allow_service_td", out.allow_service_td);
  flag("allow_dynamic_platform", out.allow_dynamic_platform);
  flag("allow_cached_keys", out.allow_cached_keys);
  flag("allow_smt", out.allow_smt);
  CLOISTER_CHECK(fields.finish());
  return out;
}

json::Value to_json(const DcapPolicy& policy) {
  return json::Value{json::Object{
      {"min_tcb_date", policy.min_tcb_date ? json::Value{to_rfc3339(*policy.min_tcb_date)} : json::Value{}},
      {"grace_period_days", number_or_null(policy.grace_period_days)},
      {"min_sgx_components", write_svns(policy.min_sgx_components)},
      {"min_tdx_components", write_svns(policy.min_tdx_components)},
      {"min_pce_svn", number_or_null(policy.min_pce_svn)},
      {"mr_seam", write_modules(policy.mr_seam)},
      {"mr_signer_seam", write_modules(policy.mr_signer_seam)},
      {"allow_service_td", policy.allow_service_td},
      {"allow_dynamic_platform", policy.allow_dynamic_platform},
      {"allow_cached_keys", policy.allow_cached_keys},
      {"allow_smt", policy.allow_smt}}};
}

}  // namespace cloister::policy
