#pragma once

#include <string>
#include <vector>

#include "cloister/collateral/bundle.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/verdict/verdict.hpp"
#include "cloister_verify.h"

namespace cloister::capi {

/// A request of C, checked: sizes, pointers and everything that is the caller's own to get right.
struct Request {
  ByteView evidence;  // of the caller's, for the time of the call
  std::string tee;
  std::vector<collateral::BundleFile> collateral;
  std::vector<crypto::x509::CertificatePtr> certificates;
  verdict::Terms terms;
};

/// `invalid_argument`, `limit_exceeded`, `certificate_malformed`, `root_untrusted`, `lab_root_not_trusted`,
/// `policy_invalid` with the member that is wrong.
[[nodiscard]] Result<Request> read_request(const cloister_verify_request* request);

/// The collateral for a quote: as `cloister verify` takes a file where there is one document, and a directory where
/// there are several.
[[nodiscard]] Result<evidence::CollateralDocuments> collateral_for(const Request& request, const evidence::Quote& quote);

/// For an SNP report: the certificates, and what the documents have of them and of CRLs.
[[nodiscard]] Result<evidence::SnpEndorsements> endorsements_of(const Request& request);

}  // namespace cloister::capi
