#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cloister/collateral/key.hpp"

/// The vendors' services as their clients see them: which URL has which document. Pure.
namespace cloister::collateral {

/// Versions of Intel's API, which PCS and PCCS share; the routes and one header differ.
enum class ApiVersion { v3, v4 };

/// A service that a document can be asked for.
struct Endpoint {
  enum class Kind {
    pcs,   // Intel's Provisioning Certification Service or a caching service (PCCS)
    kds,   // AMD's Key Distribution Service
  };
  Kind kind = Kind::pcs;
  std::string origin;  // "https://host" or "https://host:port"
  std::string prefix;  // of every path: "" or "/mirror"
  ApiVersion version = ApiVersion::v4;  // pcs only

  /// Whether documents of this key are its kind's.
  [[nodiscard]] bool serves(const Key& key) const noexcept;
  /// The address as a person would write it.
  [[nodiscard]] std::string text() const { return origin + prefix; }
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// "https://pccs.example:8081", also with the path that PCCS configurations have, "…/sgx/certification/v4/", whose
/// version then counts. `invalid_argument` for another scheme, user information, a query, a fragment, or a path of
/// other characters than letters, digits, '-', '_', '.' and '/'.
[[nodiscard]] Result<Endpoint> parse_endpoint(Endpoint::Kind kind, std::string_view url);

/// https://api.trustedservices.intel.com and https://kdsintf.amd.com.
[[nodiscard]] Endpoint intel_pcs();
[[nodiscard]] Endpoint amd_kds();

/// One GET.
struct DocumentRequest {
  std::string origin;
  std::string target;  // path and query, percent-encoded
};
/// Where the endpoint has the document. Intel's own service keeps the root's CRL on another host, which is Intel's too.
/// `unsupported` for what the endpoint's version does not know (TDX in v3), or its kind does not serve.
[[nodiscard]] Result<DocumentRequest> request_for(const Endpoint& endpoint, const Key& key);

/// The header with the document's issuer chain (URL-escaped PEM); empty where the service sends none.
[[nodiscard]] std::string_view issuer_chain_header(const Key& key, ApiVersion version) noexcept;
/// What the service says that the document is.
[[nodiscard]] std::string_view content_type(const Key& key) noexcept;
/// The largest body that is taken, bytes.
[[nodiscard]] std::size_t max_body(const Key& key) noexcept;

}  // namespace cloister::collateral
