#include "cloister/collateral/key.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "cloister/codec/text.hpp"

namespace cloister::collateral {
namespace {

using evidence::TeeType;
using Parts = std::vector<std::string_view>;

Error no_key(std::string_view text) {
  return Error{Errc::invalid_argument, '"' + std::string{text.substr(0, 256)} + "\" names no document of a vendor"};
}

Parts split(std::string_view text, char separator) {
  Parts out;
  while (true) {
    const auto at = text.find(separator);
    out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

/// Decimal as to_string writes it: no sign, no leading zero.
template <class Number>
std::optional<Number> decimal(std::string_view text) {
  Number out = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  const bool whole = failure == std::errc{} && end == text.data() + text.size();
  if (!whole || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return out;
}

std::optional<std::string_view> after(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? std::optional{text.substr(prefix.size())} : std::nullopt;
}

std::optional<Bytes> lower_hex(std::string_view text) {
  auto bytes = codec::from_hex(text);
  if (!bytes || codec::to_hex(*bytes) != text) return std::nullopt;
  return std::move(bytes).value();
}

constexpr std::string_view kNumbered = "eval-";

std::string suffix_of(const Evaluation& evaluation) {
  if (evaluation.early) return "/early";
  if (evaluation.number) return '/' + std::string{kNumbered} + std::to_string(*evaluation.number);
  return {};
}

/// The evaluation that a key's last part names; without one, the standard one.
std::optional<Evaluation> evaluation_at(const Parts& parts, std::size_t index) {
  if (parts.size() == index) return Evaluation{};
  if (parts.size() != index + 1) return std::nullopt;
  if (parts[index] == "early") return Evaluation{.early = true, .number = std::nullopt};
  const auto digits = after(parts[index], kNumbered);
  const auto number = digits ? decimal<std::uint32_t>(*digits) : std::nullopt;
  if (!number) return std::nullopt;
  return Evaluation{.early = false, .number = number};
}

std::string text_of(const SnpTcb& tcb) {
  std::string out = tcb.fmc ? "fmc" + std::to_string(*tcb.fmc) + '-' : std::string{};
  return out + "bl" + std::to_string(tcb.boot_loader) + "-tee" + std::to_string(tcb.tee) + "-snp" +
         std::to_string(tcb.snp) + "-ucode" + std::to_string(tcb.microcode);
}

std::optional<SnpTcb> tcb_from(std::string_view text) {
  const auto parts = split(text, '-');
  SnpTcb out;
  std::size_t next = 0;
  bool whole = true;
  const auto read = [&](std::string_view name) -> std::uint8_t {
    const auto digits = next < parts.size() ? after(parts[next++], name) : std::nullopt;
    const auto value = digits ? decimal<std::uint8_t>(*digits) : std::nullopt;
    whole = whole && value.has_value();
    return value.value_or(0);
  };
  if (text.starts_with("fmc")) out.fmc = read("fmc");
  out.boot_loader = read("bl");
  out.tee = read("tee");
  out.snp = read("snp");
  out.microcode = read("ucode");
  if (!whole || next != parts.size()) return std::nullopt;
  return out;
}

std::string_view name_of(EndorsementKey key) { return key == EndorsementKey::vlek ? "vlek" : "vcek"; }
std::optional<EndorsementKey> endorsement_from(std::string_view text) {
  if (text == "vcek") return EndorsementKey::vcek;
  if (text == "vlek") return EndorsementKey::vlek;
  return std::nullopt;
}

std::optional<Key> tcb_info_key(const Parts& parts) {
  if (parts.size() < 3 || (parts[1] != "sgx" && parts[1] != "tdx")) return std::nullopt;
  const auto fmspc = lower_hex(parts[2]);
  const auto evaluation = evaluation_at(parts, 3);
  if (!fmspc || fmspc->size() != 6 || !evaluation) return std::nullopt;
  const auto tee = parts[1] == "tdx" ? TeeType::tdx : TeeType::sgx;
  return TcbInfoKey{.tee = tee, .fmspc = to_array<6>(*fmspc), .evaluation = *evaluation};
}

std::optional<Key> identity_key(const Parts& parts) {
  const bool qve = parts[0] == "qve_identity";
  if (!qve && (parts.size() < 2 || (parts[1] != "qe" && parts[1] != "td_qe"))) return std::nullopt;
  const auto evaluation = evaluation_at(parts, qve ? 1 : 2);
  if (!evaluation) return std::nullopt;
  const auto enclave = qve ? Enclave::qve : parts[1] == "qe" ? Enclave::qe : Enclave::td_qe;
  return IdentityKey{.enclave = enclave, .evaluation = *evaluation};
}

std::optional<Key> vcek_key(const Parts& parts) {
  if (parts.size() != 4) return std::nullopt;
  const auto product = product_from_string(parts[1]);
  auto hwid = lower_hex(parts[2]);
  const auto tcb = tcb_from(parts[3]);
  if (!product || !hwid || hwid->size() != hwid_size(*product) || !tcb) return std::nullopt;
  if (tcb->fmc.has_value() != (*product == Product::turin)) return std::nullopt;
  return VcekKey{.product = *product, .hwid = std::move(*hwid), .tcb = *tcb};
}

template <class AmdKey>
std::optional<Key> amd_key(const Parts& parts) {
  if (parts.size() != 3) return std::nullopt;
  const auto endorsement = endorsement_from(parts[1]);
  const auto product = product_from_string(parts[2]);
  if (!endorsement || !product) return std::nullopt;
  return AmdKey{.product = *product, .endorsement = *endorsement};
}

std::optional<Key> key_from(const Parts& parts) {
  const auto kind = parts[0];
  if (kind == "tcb_info") return tcb_info_key(parts);
  if (kind == "qe_identity" || kind == "qve_identity") return identity_key(parts);
  if (kind == "vcek") return vcek_key(parts);
  if (kind == "amd_chain") return amd_key<AmdChainKey>(parts);
  if (kind == "amd_crl") return amd_key<AmdCrlKey>(parts);
  if (kind == "root_ca_crl" && parts.size() == 1) return RootCrlKey{};
  if (kind != "pck_crl" || parts.size() != 2) return std::nullopt;
  if (parts[1] == "platform") return PckCrlKey{CaType::platform};
  if (parts[1] == "processor") return PckCrlKey{CaType::processor};
  return std::nullopt;
}

struct Text {
  std::string operator()(const TcbInfoKey& key) const {
    return (key.tee == TeeType::tdx ? "/tdx/" : "/sgx/") + codec::to_hex(key.fmspc) + suffix_of(key.evaluation);
  }
  std::string operator()(const IdentityKey& key) const {
    const std::string_view name = key.enclave == Enclave::qve ? "" : key.enclave == Enclave::qe ? "/qe" : "/td_qe";
    return std::string{name} + suffix_of(key.evaluation);
  }
  std::string operator()(const PckCrlKey& key) const { return '/' + std::string{to_string(key.ca)}; }
  std::string operator()(const RootCrlKey&) const { return {}; }
  std::string operator()(const VcekKey& key) const {
    return '/' + std::string{to_string(key.product)} + '/' + codec::to_hex(key.hwid) + '/' + text_of(key.tcb);
  }
  std::string operator()(const AmdChainKey& key) const { return amd(key.endorsement, key.product); }
  std::string operator()(const AmdCrlKey& key) const { return amd(key.endorsement, key.product); }
  static std::string amd(EndorsementKey endorsement, Product product) {
    return '/' + std::string{name_of(endorsement)} + '/' + std::string{to_string(product)};
  }
};

constexpr std::array<std::pair<Product, std::string_view>, 3> kProducts{
    {{Product::milan, "Milan"}, {Product::genoa, "Genoa"}, {Product::turin, "Turin"}}};

}  // namespace

std::string_view to_string(Product product) noexcept {
  return std::ranges::find(kProducts, product, &std::pair<Product, std::string_view>::first)->second;
}

std::optional<Product> product_from_string(std::string_view text) noexcept {
  const auto* const found = std::ranges::find(kProducts, text, &std::pair<Product, std::string_view>::second);
  return found == kProducts.end() ? std::nullopt : std::optional{found->first};
}

SnpTcb snp_tcb(Product product, const ByteArray<8>& version) noexcept {
  if (product == Product::turin) {
    return {.fmc = version[0], .boot_loader = version[1], .tee = version[2], .snp = version[3], .microcode = version[7]};
  }
  return {.fmc = std::nullopt, .boot_loader = version[0], .tee = version[1], .snp = version[6], .microcode = version[7]};
}

std::string_view kind_of(const Key& key) noexcept {
  struct Kind {
    std::string_view operator()(const TcbInfoKey&) const { return "tcb_info"; }
    std::string_view operator()(const IdentityKey& k) const {
      return k.enclave == Enclave::qve ? "qve_identity" : "qe_identity";
    }
    std::string_view operator()(const PckCrlKey&) const { return "pck_crl"; }
    std::string_view operator()(const RootCrlKey&) const { return "root_ca_crl"; }
    std::string_view operator()(const VcekKey&) const { return "vcek"; }
    std::string_view operator()(const AmdChainKey&) const { return "amd_chain"; }
    std::string_view operator()(const AmdCrlKey&) const { return "amd_crl"; }
  };
  return std::visit(Kind{}, key);
}

std::string to_string(const Key& key) { return std::string{kind_of(key)} + std::visit(Text{}, key); }

Result<Key> parse_key(std::string_view text) {
  constexpr std::size_t kMaxKey = 256;
  if (text.size() > kMaxKey) return no_key(text);
  auto key = key_from(split(text, '/'));
  if (!key) return no_key(text);
  return std::move(*key);
}

bool is_permanent(const Key& key) noexcept {
  return std::holds_alternative<VcekKey>(key) || std::holds_alternative<AmdChainKey>(key);
}

}  // namespace cloister::collateral
