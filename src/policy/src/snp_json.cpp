#include "snp_json.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/text.hpp"

namespace cloister::policy {
namespace {

namespace json = codec::json;
using evidence::SnpProduct;
using evidence::SnpTcb;
using TcbByProduct = std::vector<std::pair<SnpProduct, SnpTcb>>;

struct Bit {
  std::string_view name;
  std::uint64_t mask;
};
constexpr std::array kPolicyBits = {
    Bit{"smt", evidence::snp_policy::kSmt},
    Bit{"migrate_ma", evidence::snp_policy::kMigrateMa},
    Bit{"debug", evidence::snp_policy::kDebug},
    Bit{"single_socket", evidence::snp_policy::kSingleSocket},
    Bit{"cxl", evidence::snp_policy::kCxl},
    Bit{"mem_aes_256", evidence::snp_policy::kMemAes256},
    Bit{"rapl_disabled", evidence::snp_policy::kRaplDisabled},
    Bit{"ciphertext_hiding", evidence::snp_policy::kCiphertextHiding},
    Bit{"page_swap_disabled", evidence::snp_policy::kPageSwapDisabled},
};
constexpr std::array kPlatformBits = {
    Bit{"smt", evidence::snp_platform::kSmt},
    Bit{"tsme", evidence::snp_platform::kTsme},
    Bit{"ecc", evidence::snp_platform::kEcc},
    Bit{"rapl_disabled", evidence::snp_platform::kRaplDisabled},
    Bit{"ciphertext_hiding", evidence::snp_platform::kCiphertextHiding},
    Bit{"alias_check_complete", evidence::snp_platform::kAliasCheckComplete},
    Bit{"tio", evidence::snp_platform::kTio},
};
constexpr std::array kProducts = {SnpProduct::milan, SnpProduct::genoa, SnpProduct::turin, SnpProduct::venice};

std::uint64_t read_bits(json::Fields& fields, std::string_view name, std::span<const Bit> known) {
  std::uint64_t out = 0;
  for (const auto& item : fields.optional_array(name)) {
    const auto* text = item.as_string();
    const auto found = text == nullptr ? known.end() : std::ranges::find(known, std::string_view{*text}, &Bit::name);
    if (found == known.end()) {
      fields.fail(Errc::malformed, name, "names of bits expected");
      return 0;
    }
    out |= found->mask;
  }
  return out;
}

json::Value write_bits(std::uint64_t mask, std::span<const Bit> known) {
  json::Array out;
  for (const auto& bit : known) {
    if ((mask & bit.mask) != 0) out.emplace_back(bit.name);
  }
  return json::Value{std::move(out)};
}

Result<SnpTcb> read_tcb(const json::Value& value, SnpProduct product) {
  json::Fields fields{value, "TCB of " + std::string{evidence::to_string(product)}};
  const auto level = [&fields](std::string_view name) {
    return static_cast<std::uint8_t>(fields.optional_integer(name, 0, 0xFF).value_or(0));
  };
  SnpTcb out{.fmc = std::nullopt,
             .bootloader = level("bootloader"),
             .tee = level("tee"),
             .snp = level("snp"),
             .microcode = level("microcode")};
  if (evidence::has_fmc(product)) out.fmc = level("fmc");
  CLOISTER_CHECK(fields.finish());
  return out;
}

Result<TcbByProduct> read_tcbs(const json::Value* value, std::string_view name) {
  TcbByProduct out;
  if (value == nullptr) return out;
  for (const auto product : kProducts) {
    const auto* member = value->find(evidence::to_string(product));
    if (member == nullptr) continue;
    CLOISTER_TRY(tcb, read_tcb(*member, product));
    out.emplace_back(product, tcb);
  }
  if (out.empty() || out.size() != value->as_object()->size()) {
    return Error{Errc::malformed, std::string{name} + ": one TCB for each of Milan, Genoa, Turin, Venice expected"};
  }
  return out;
}

json::Value write_tcbs(const TcbByProduct& tcbs) {
  if (tcbs.empty()) return {};
  json::Object out;
  for (const auto& [product, tcb] : tcbs) {
    json::Object one{{"bootloader", std::int64_t{tcb.bootloader}},
                     {"tee", std::int64_t{tcb.tee}},
                     {"snp", std::int64_t{tcb.snp}},
                     {"microcode", std::int64_t{tcb.microcode}}};
    if (tcb.fmc) one.emplace_back("fmc", std::int64_t{*tcb.fmc});
    out.emplace_back(std::string{evidence::to_string(product)}, std::move(one));
  }
  return json::Value{std::move(out)};
}

/// "0x" and up to 16 hex digits.
std::uint64_t read_mask(json::Fields& fields, std::string_view name) {
  const auto text = fields.optional_string(name);
  if (!text) return 0;
  const std::string_view digits = std::string_view{*text}.substr(text->starts_with("0x") ? 2 : text->size());
  const auto octets = codec::from_hex((digits.size() % 2 == 0 ? "" : "0") + std::string{digits});
  if (!octets || octets->empty() || octets->size() > 8) {
    fields.fail(Errc::malformed, name, "\"0x\" and up to 16 hex digits expected");
    return 0;
  }
  std::uint64_t out = 0;
  for (const auto octet : *octets) out = out << 8 | octet;
  return out;
}

json::Value write_mask(std::uint64_t mask) {
  ByteArray<8> big_endian;
  for (std::size_t i = 0; i < 8; ++i) big_endian[i] = static_cast<std::uint8_t>(mask >> (56 - 8 * i));
  return json::Value{"0x" + codec::to_hex(big_endian)};
}

}  // namespace

Result<SnpPolicy> read_snp_policy(const json::Value& value) {
  json::Fields fields{value, "snp"};
  SnpPolicy out;
  const auto flag = [&](std::string_view name, bool& into) { into = fields.optional_boolean(name).value_or(into); };
  flag("allow_vlek", out.allow_vlek);
  flag("allow_masked_chip_id", out.allow_masked_chip_id);
  flag("allow_host_requested", out.allow_host_requested);
  flag("allow_provisional_firmware", out.allow_provisional_firmware);
  flag("require_crl", out.require_crl);
  if (const auto vmpl = fields.optional_integer("max_vmpl", 0, 3)) out.max_vmpl = static_cast<std::uint8_t>(*vmpl);
  const auto* min_tcb = fields.optional_object("min_tcb");
  const auto* min_launch_tcb = fields.optional_object("min_launch_tcb");
  out.required_policy = read_bits(fields, "required_policy", kPolicyBits);
  out.forbidden_policy = read_bits(fields, "forbidden_policy", kPolicyBits);
  out.required_platform = read_bits(fields, "required_platform", kPlatformBits);
  out.forbidden_platform = read_bits(fields, "forbidden_platform", kPlatformBits);
  out.required_mitigations = read_mask(fields, "required_mitigations");
  CLOISTER_CHECK(fields.finish());
  CLOISTER_TRY(tcb, read_tcbs(min_tcb, "min_tcb"));
  out.min_tcb = std::move(tcb);
  CLOISTER_TRY(launch_tcb, read_tcbs(min_launch_tcb, "min_launch_tcb"));
  out.min_launch_tcb = std::move(launch_tcb);
  return out;
}

json::Value to_json(const SnpPolicy& policy) {
  return json::Value{json::Object{
      {"allow_vlek", policy.allow_vlek},
      {"allow_masked_chip_id", policy.allow_masked_chip_id},
      {"allow_host_requested", policy.allow_host_requested},
      {"allow_provisional_firmware", policy.allow_provisional_firmware},
      {"require_crl", policy.require_crl},
      {"max_vmpl", policy.max_vmpl ? json::Value{std::int64_t{*policy.max_vmpl}} : json::Value{}},
      {"min_tcb", write_tcbs(policy.min_tcb)},
      {"min_launch_tcb", write_tcbs(policy.min_launch_tcb)},
      {"required_policy", write_bits(policy.required_policy, kPolicyBits)},
      {"forbidden_policy", write_bits(policy.forbidden_policy, kPolicyBits)},
      {"required_platform", write_bits(policy.required_platform, kPlatformBits)},
      {"forbidden_platform", write_bits(policy.forbidden_platform, kPlatformBits)},
      {"required_mitigations", write_mask(policy.required_mitigations)}}};
}

}  // namespace cloister::policy
