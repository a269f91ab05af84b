#include "cloister/collateral/service.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/x509.hpp"

namespace cloister::collateral {
namespace {

using evidence::TeeType;

constexpr std::string_view kIntelOrigin = "https://api.trustedservices.intel.com";
constexpr std::string_view kIntelCertificates = "https://certificates.trustedservices.intel.com";
constexpr std::string_view kIntelRootCrl = "/IntelSGXRootCA.der";
constexpr std::string_view kAmdOrigin = "https://kdsintf.amd.com";

bool is_alphanumeric(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool is_authority(std::string_view text) noexcept {
  static constexpr std::string_view kOthers = "-._:[]";
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || kOthers.find(c) != std::string_view::npos; });
}

bool is_plain_path(std::string_view text) noexcept {
  static constexpr std::string_view kOthers = "-_./";
  return text.find("//") == std::string_view::npos && text.find("..") == std::string_view::npos &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || kOthers.find(c) != std::string_view::npos; });
}

/// Takes `suffix` off the end of `path`, if it is there.
bool strip(std::string_view& path, std::string_view suffix) {
  if (!path.ends_with(suffix)) return false;
  path.remove_suffix(suffix.size());
  return true;
}

std::string two_digits(std::uint8_t value) { return (value < 10 ? "0" : "") + std::to_string(value); }

/// Builds a query, "?a=1&b=2".
class QueryText {
 public:
  QueryText& add(std::string_view name, std::string_view value) {
    text_ += text_.empty() ? '?' : '&';
    text_.append(name).append("=").append(value);
    return *this;
  }
  QueryText& add(const Evaluation& evaluation) {
    if (evaluation.early) return add("update", "early");
    if (evaluation.number) return add("tcbEvaluationDataNumber", std::to_string(*evaluation.number));
    return *this;
  }
  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  std::string text_;
};

Error not_in_v3(std::string_view what) {
  return Error{Errc::unsupported, std::string{what} + " is not in version 3 of the service; ask one of version 4"};
}

/// The path and query of a document under "/{sgx,tdx}/certification/v{3,4}" (Intel PCS API v3 and v4; PCCS).
struct PcsTarget {
  ApiVersion version;

  [[nodiscard]] std::string base(std::string_view tee) const {
    return '/' + std::string{tee} + "/certification/" + (version == ApiVersion::v3 ? "v3" : "v4");
  }
  [[nodiscard]] Result<std::string> operator()(const TcbInfoKey& key) const {
    const bool tdx = key.tee == TeeType::tdx;
    if (tdx && version == ApiVersion::v3) return not_in_v3("TCB info of TDX");
    QueryText query;
    query.add("fmspc", codec::to_hex(key.fmspc)).add(key.evaluation);
    return base(tdx ? "tdx" : "sgx") + "/tcb" + std::move(query).take();
  }
  [[nodiscard]] Result<std::string> operator()(const IdentityKey& key) const {
    const bool tdx = key.enclave == Enclave::td_qe;
    if (tdx && version == ApiVersion::v3) return not_in_v3("the identity of TDX's quoting enclave");
    QueryText query;
    query.add(key.evaluation);
    return base(tdx ? "tdx" : "sgx") + (key.enclave == Enclave::qve ? "/qve" : "/qe") + "/identity" + std::move(query).take();
  }
  [[nodiscard]] Result<std::string> operator()(const PckCrlKey& key) const {
    QueryText query;
    query.add("ca", to_string(key.ca)).add("encoding", "der");
    return base("sgx") + "/pckcrl" + std::move(query).take();
  }
  [[nodiscard]] Result<std::string> operator()(const RootCrlKey&) const { return base("sgx") + "/rootcacrl"; }
  template <class AmdKey>
  [[nodiscard]] Result<std::string> operator()(const AmdKey&) const {
    return Error{Errc::unsupported, "a service for SGX and TDX has nothing of AMD's"};
  }
};

/// AMD 57230 section 4: /{vcek,vlek}/v1/{product}/….
struct KdsTarget {
  [[nodiscard]] static std::string base(EndorsementKey endorsement, Product product) {
    return (endorsement == EndorsementKey::vlek ? "/vlek/v1/" : "/vcek/v1/") + std::string{to_string(product)};
  }
  [[nodiscard]] Result<std::string> operator()(const VcekKey& key) const {
    QueryText query;
    if (key.tcb.fmc) query.add("fmcSPL", two_digits(*key.tcb.fmc));
    query.add("blSPL", two_digits(key.tcb.boot_loader))
        .add("teeSPL", two_digits(key.tcb.tee))
        .add("snpSPL", two_digits(key.tcb.snp))
        .add("ucodeSPL", two_digits(key.tcb.microcode));
    return base(EndorsementKey::vcek, key.product) + '/' + codec::to_hex(key.hwid) + std::move(query).take();
  }
  [[nodiscard]] Result<std::string> operator()(const AmdChainKey& key) const {
    return base(key.endorsement, key.product) + "/cert_chain";
  }
  [[nodiscard]] Result<std::string> operator()(const AmdCrlKey& key) const {
    return base(key.endorsement, key.product) + "/crl";
  }
  template <class IntelKey>
  [[nodiscard]] Result<std::string> operator()(const IntelKey&) const {
    return Error{Errc::unsupported, "AMD's service has nothing of SGX and TDX"};
  }
};

bool is_amd(const Key& key) noexcept {
  return std::holds_alternative<VcekKey>(key) || std::holds_alternative<AmdChainKey>(key) ||
         std::holds_alternative<AmdCrlKey>(key);
}

}  // namespace

bool Endpoint::serves(const Key& key) const noexcept { return is_amd(key) == (kind == Kind::kds); }

Result<Endpoint> parse_endpoint(Endpoint::Kind kind, std::string_view url) {
  const auto refused = [url](std::string_view why) {
    return Error{Errc::invalid_argument, '"' + std::string{url.substr(0, 256)} + "\": " + std::string{why}};
  };
  const auto scheme_end = url.find("://");
  const auto scheme = url.substr(0, scheme_end);
  if (scheme_end == std::string_view::npos || (scheme != "https" && scheme != "http")) {
    return refused("a URL with https:// or http:// expected");
  }
  const auto rest = url.substr(scheme_end + 3);
  const auto slash = std::min(rest.find('/'), rest.size());
  const auto authority = rest.substr(0, slash);
  auto path = rest.substr(slash);
  if (!is_authority(authority)) return refused("a host, or a host and a port, expected");
  if (!is_plain_path(path)) return refused("a path without escapes, query and fragment expected");
  strip(path, "/");
  Endpoint out;
  out.kind = kind;
  if (kind == Endpoint::Kind::pcs) {
    if (strip(path, "/sgx/certification/v3")) out.version = ApiVersion::v3;
    else strip(path, "/sgx/certification/v4");
    if (path.find("/certification/") != std::string_view::npos) return refused("version 3 or 4 of the service expected");
  }
  out.origin = std::string{scheme} + "://" + std::string{authority};
  out.prefix = path;
  return out;
}

Endpoint intel_pcs() {
  return {.kind = Endpoint::Kind::pcs, .origin = std::string{kIntelOrigin}, .prefix = {}, .version = ApiVersion::v4};
}
Endpoint amd_kds() {
  return {.kind = Endpoint::Kind::kds, .origin = std::string{kAmdOrigin}, .prefix = {}, .version = ApiVersion::v4};
}

Result<DocumentRequest> request_for(const Endpoint& endpoint, const Key& key) {
  if (endpoint.origin == kIntelOrigin && std::holds_alternative<RootCrlKey>(key)) {
    return DocumentRequest{std::string{kIntelCertificates}, std::string{kIntelRootCrl}};
  }
  auto target = endpoint.kind == Endpoint::Kind::kds ? std::visit(KdsTarget{}, key)
                                                     : std::visit(PcsTarget{endpoint.version}, key);
  if (!target) return std::move(target).error();
  return DocumentRequest{endpoint.origin, endpoint.prefix + *target};
}

std::string_view issuer_chain_header(const Key& key, ApiVersion version) noexcept {
  if (std::holds_alternative<TcbInfoKey>(key)) {
    return version == ApiVersion::v3 ? "SGX-TCB-Info-Issuer-Chain" : "TCB-Info-Issuer-Chain";
  }
  if (std::holds_alternative<IdentityKey>(key)) return "SGX-Enclave-Identity-Issuer-Chain";
  if (std::holds_alternative<PckCrlKey>(key)) return "SGX-PCK-CRL-Issuer-Chain";
  return {};
}

std::string_view content_type(const Key& key) noexcept {
  if (std::holds_alternative<TcbInfoKey>(key) || std::holds_alternative<IdentityKey>(key)) return "application/json";
  if (std::holds_alternative<VcekKey>(key)) return "application/pkix-cert";
  if (std::holds_alternative<AmdChainKey>(key)) return "application/x-pem-file";
  return "application/pkix-crl";
}

std::size_t max_body(const Key& key) noexcept {
  constexpr std::size_t kMaxChain = 64U << 10;
  if (std::holds_alternative<TcbInfoKey>(key) || std::holds_alternative<IdentityKey>(key)) {
    return evidence::kMaxTcbDocumentSize;
  }
  if (std::holds_alternative<VcekKey>(key)) return crypto::x509::kMaxCertificateSize;
  if (std::holds_alternative<AmdChainKey>(key)) return kMaxChain;
  return 2 * crypto::x509::kMaxCrlSize;  // hex, as caching services give the root's
}

}  // namespace cloister::collateral
