#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/pck.hpp"
#include "cloister/evidence/quote.hpp"

/// A vendor with one platform, in memory: root, authorities, PCK certificate, CRLs, TCB info, QE identity and a quote
/// that fit together. A test changes one thing before `build` signs everything, so that only one check can fail.
namespace cloister::test {

/// A certificate before it is issued. Keys have names; the same name is the same key everywhere.
struct CertificatePlan {
  std::string common_name;
  std::string key;
  crypto::Curve curve = crypto::Curve::p256;  // of `key`; issuers' keys are on P-256
  std::string issuer_name;
  std::string issuer_key;
  std::uint64_t serial = 1;
  UnixTime not_before;
  UnixTime not_after;
  bool is_ca = false;
  std::optional<unsigned> path_length;
  std::uint16_t key_usage = 0x8000;
  std::vector<crypto::x509::Extension> extensions;
};

struct CrlPlan {
  std::string issuer_name;
  std::string issuer_key;
  UnixTime this_update;
  UnixTime next_update;
  std::vector<std::uint64_t> revoked;
};

/// What `build` makes.
struct SyntheticEvidence {
  Bytes quote;
  evidence::QuoteCollateral collateral;
  crypto::x509::CertificatePtr root;
};

class SyntheticPlatform {
 public:
  /// Everything is UpToDate at `now()`. Versions: 3 (SGX), 4 (either), 5 (either; a TD has a 1.5 body).
  explicit SyntheticPlatform(evidence::TeeType tee = evidence::TeeType::tdx, std::uint16_t version = 4);

  /// Inside every window.
  [[nodiscard]] static UnixTime now();

  CertificatePlan root;
  CertificatePlan authority;  // PCK platform CA
  CertificatePlan pck;
  CertificatePlan tcb_signer;
  CertificatePlan qe_signer;
  CrlPlan root_crl;
  CrlPlan pck_crl;
  bool lab = false;        // the marker in every certificate; names as they are
  bool with_root = true;   // chains end with the root itself
  std::optional<evidence::PckExtension> platform;
  evidence::TcbInfo tcb_info;
  evidence::QeIdentity qe_identity;
  evidence::QuoteHeader header;
  evidence::QuoteBody body;
  evidence::SgxReport qe_report;  // its report data is computed, unless `qe_report_data` is given
  std::optional<Digest64> qe_report_data;
  Bytes qe_auth_data;
  std::string attestation_key = "attestation";
  std::optional<ByteArray<64>> attestation_point;  // in the place of that key's, a point or not
  // Which key signs; names of keys.
  std::string quote_signed_by = "attestation";
  std::string qe_report_signed_by = "pck";
  std::string tcb_info_signed_by = "tcb-signer";
  std::string qe_identity_signed_by = "qe-signer";
  /// A certificate chain of another kind than the usual (type 5) one.
  std::optional<evidence::CertificationData> certification;

  [[nodiscard]] evidence::TdBody& td() { return std::get<evidence::TdBody>(body); }
  [[nodiscard]] evidence::SgxReport& enclave() { return std::get<evidence::SgxReport>(body); }
  /// Marks everything as a lab's, under a lab's root.
  void make_lab();

  [[nodiscard]] SyntheticEvidence build() const;
  /// The PCK chain as PEM, leaf first.
  [[nodiscard]] std::string pck_chain() const;
};

}  // namespace cloister::test
