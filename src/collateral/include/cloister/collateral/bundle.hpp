#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cloister/collateral/source.hpp"

/// Collateral in files, for verification without a network.
namespace cloister::collateral {

inline constexpr std::size_t kMaxBundleFiles = 1024;
inline constexpr std::size_t kMaxBundleFileSize = 12U << 20;

/// One complete set, which is given for every quote: whether it is the right one, the verification says.
/// Const, thread-safe.
class SingleCollateral final : public CollateralSource {
 public:
  using CollateralSource::find;
  explicit SingleCollateral(evidence::QuoteCollateral collateral) : collateral_{std::move(collateral)} {}
  [[nodiscard]] Result<evidence::QuoteCollateral> find(const Wanted& wanted) const override;

 private:
  evidence::QuoteCollateral collateral_;
};

struct BundleFile {
  std::string name;
  Bytes content;
  std::string key{};  // what a manifest says beside it; may be empty
};

/// Responses of a provisioning certification service, of any number of platforms, recognised by their content: TCB
/// info and QE identity (the whole envelope), CRLs (DER, PEM, hex or base64), certificates (PEM, also URL-escaped as in
/// the service's headers, or DER), whole QuoteCollateralV3 objects. Chains are put together by names, and the signer of
/// a document is the certificate whose key verifies it. Responses of AMD's key distribution service are certificates (DER,
/// PEM) and CRLs as well; which of them belong to a report, the verification finds. Other files are left alone. Const, thread-safe.
class Bundle final : public CollateralSource {
 public:
  /// `collateral_malformed` when a file is of a known kind and cannot be read.
  [[nodiscard]] static Result<Bundle> from_files(const std::vector<BundleFile>& files);
  [[nodiscard]] Result<evidence::QuoteCollateral> find(const Wanted& wanted) const override;
  /// All that are here, whatever the report.
  [[nodiscard]] Result<evidence::SnpEndorsements> find(const evidence::SnpReport& report,
                                                       const evidence::SnpEndorsements& given) const override;

 private:
  struct Parts;
  explicit Bundle(std::shared_ptr<const Parts> parts) : parts_{std::move(parts)} {}
  std::shared_ptr<const Parts> parts_;  // shared, immutable: a bundle is cheap to copy
};

/// What `--collateral FILE|DIR` takes: a QuoteCollateralV3 JSON file, certificates or a CRL, or a directory. A directory's manifest.json,
/// {"version":1,"files":[{"kind":…,"key":…,"file":…}]} or that list alone, says which of its files count; without one,
/// all do. Content decides what a file is; a manifest's `kind` (`tcb_info`, `qe_identity`, `pck_crl`, `root_ca_crl`,
/// `certificates`, `collateral`) that contradicts it is refused, its `key` is for people. Files of a manifest are inside
/// the directory. `io_error` when something cannot be opened or read; `collateral_malformed`, `limit_exceeded`.
[[nodiscard]] Result<std::unique_ptr<CollateralSource>> open_collateral(const std::filesystem::path& path);

}  // namespace cloister::collateral
