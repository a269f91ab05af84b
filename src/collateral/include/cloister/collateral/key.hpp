#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "cloister/collateral/source.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/quote.hpp"

/// The names of the documents that vendors' services give. One key, one document, whoever serves it.
namespace cloister::collateral {

/// Which of the evaluations of a platform's TCB that are published side by side (Intel PCS API v4, "Get TCB Info":
/// `update` and `tcbEvaluationDataNumber`, which exclude each other). As it is: `update=standard`.
struct Evaluation {
  bool early = false;
  std::optional<std::uint32_t> number;  // never together with `early`
  friend bool operator==(const Evaluation&, const Evaluation&) = default;
};

struct TcbInfoKey {
  evidence::TeeType tee = evidence::TeeType::sgx;
  ByteArray<6> fmspc{};
  Evaluation evaluation;
  friend bool operator==(const TcbInfoKey&, const TcbInfoKey&) = default;
};

enum class Enclave { qe, td_qe, qve };
struct IdentityKey {
  Enclave enclave = Enclave::qe;
  Evaluation evaluation;
  friend bool operator==(const IdentityKey&, const IdentityKey&) = default;
};

struct PckCrlKey {
  CaType ca = CaType::platform;
  friend bool operator==(const PckCrlKey&, const PckCrlKey&) = default;
};

struct RootCrlKey {
  friend bool operator==(const RootCrlKey&, const RootCrlKey&) = default;
};

/// Products as AMD's Key Distribution Service names them in its paths (AMD 57230, section 4): "Milan", "Genoa", "Turin".
enum class Product { milan, genoa, turin };
[[nodiscard]] std::string_view to_string(Product product) noexcept;
[[nodiscard]] std::optional<Product> product_from_string(std::string_view text) noexcept;

/// A TCB_VERSION's parts (AMD 56860, table 3); `fmc` from Turin on.
struct SnpTcb {
  std::optional<std::uint8_t> fmc;
  std::uint8_t boot_loader = 0;
  std::uint8_t tee = 0;
  std::uint8_t snp = 0;
  std::uint8_t microcode = 0;
  friend bool operator==(const SnpTcb&, const SnpTcb&) = default;
};
/// A TCB_VERSION as reports carry it, by the product's layout.
[[nodiscard]] SnpTcb snp_tcb(Product product, const ByteArray<8>& version) noexcept;

/// The certificate of one chip at one TCB. It never changes.
struct VcekKey {
  Product product = Product::milan;
  Bytes hwid;  // 8 bytes on Turin, 64 before
  SnpTcb tcb;
  friend bool operator==(const VcekKey&, const VcekKey&) = default;
};
[[nodiscard]] constexpr std::size_t hwid_size(Product product) noexcept { return product == Product::turin ? 8 : 64; }

/// Whose certificate signs SNP reports: the chip's own, or the loaded one of a cloud provider.
enum class EndorsementKey { vcek, vlek };
struct AmdChainKey {  // ASK or ASVK, then ARK
  Product product = Product::milan;
  EndorsementKey endorsement = EndorsementKey::vcek;
  friend bool operator==(const AmdChainKey&, const AmdChainKey&) = default;
};
struct AmdCrlKey {
  Product product = Product::milan;
  EndorsementKey endorsement = EndorsementKey::vcek;
  friend bool operator==(const AmdCrlKey&, const AmdCrlKey&) = default;
};

using Key = std::variant<TcbInfoKey, IdentityKey, PckCrlKey, RootCrlKey, VcekKey, AmdChainKey, AmdCrlKey>;

/// "tcb_info", "qe_identity", "qve_identity", "pck_crl", "root_ca_crl", "vcek", "amd_chain", "amd_crl": what a bundle's
/// manifest calls its `kind`.
[[nodiscard]] std::string_view kind_of(const Key& key) noexcept;

/// The kind and what tells it from others of that kind, "tcb_info/tdx/90c06f000000/early", "pck_crl/platform",
/// "vcek/Milan/<hwid>/bl3-tee0-snp22-ucode213": lower-case letters, digits, '/', '-', '_' and the products' names.
/// Unique: parse_key(to_string(k)) == k, and the other way round.
[[nodiscard]] std::string to_string(const Key& key);
/// `invalid_argument` for anything that `to_string` does not write.
[[nodiscard]] Result<Key> parse_key(std::string_view text);

/// Documents that never change once issued: certificates.
[[nodiscard]] bool is_permanent(const Key& key) noexcept;

}  // namespace cloister::collateral
