#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/evidence/qe_identity.hpp"
#include "cloister/evidence/tcb_info.hpp"

/// What a verifier needs beside a quote (Intel DCAP API, sgx_ql_qve_collateral_t; as JSON: QuoteCollateralV3).
namespace cloister::evidence {

inline constexpr std::size_t kMaxCollateralSize = 12U << 20;

/// The documents as they were given; CRLs brought to DER. Chains are PEM, signer first.
struct QuoteCollateral {
  std::string pck_crl_issuer_chain;
  Bytes root_ca_crl;
  Bytes pck_crl;
  std::string tcb_info_issuer_chain;
  std::string tcb_info;  // the signed value alone, byte for byte
  ByteArray<64> tcb_info_signature{};
  std::string qe_identity_issuer_chain;
  std::string qe_identity;
  ByteArray<64> qe_identity_signature{};
  std::optional<std::string> pck_certificate_chain;  // for quotes that do not carry it

  friend bool operator==(const QuoteCollateral&, const QuoteCollateral&) = default;
};

/// One JSON object. CRLs may be hex, base64 or PEM text, hex or base64 of one of these, or an array of byte values
/// (the versions of the C structure differ in it); `tcb_info` and `qe_identity` may be the signed value or the whole
/// envelope, as text or as an object. `collateral_malformed` with the member's name.
[[nodiscard]] Result<QuoteCollateral> parse_quote_collateral(std::string_view json);
/// The usual form: CRLs and signatures as hex, everything else as text.
[[nodiscard]] std::string write_quote_collateral(const QuoteCollateral& collateral);

/// A CRL in any of the encodings above, as DER; not parsed further.
[[nodiscard]] Result<Bytes> crl_to_der(ByteView text_or_der);

/// The same, parsed. Owns everything; nothing was verified.
struct CollateralDocuments {
  std::vector<crypto::x509::CertificatePtr> pck_crl_issuer_chain;
  crypto::x509::Crl root_ca_crl;
  crypto::x509::Crl pck_crl;
  std::vector<crypto::x509::CertificatePtr> tcb_info_issuer_chain;
  SignedTcbInfo tcb_info;
  std::vector<crypto::x509::CertificatePtr> qe_identity_issuer_chain;
  SignedQeIdentity qe_identity;
  std::vector<crypto::x509::CertificatePtr> pck_certificate_chain;  // empty when not given
};

/// Errors carry the member's name.
[[nodiscard]] Result<CollateralDocuments> parse_documents(const QuoteCollateral& collateral);

}  // namespace cloister::evidence
