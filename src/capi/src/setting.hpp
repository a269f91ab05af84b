#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "cloister/attestation/anchors.hpp"
#include "cloister/collateral/bundle.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/crypto/x509.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/verdict/verdict.hpp"

/// What requests for one piece of evidence after another have in common.
namespace cloister::capi {

/// The members of a request that make its setting.
enum class Member : std::uint8_t { collateral, certificates, roots, lab_roots, policy };

/// One element of such a member as it was given: views of the caller's memory.
struct Part {
  Member member;
  std::string_view name;  // of a document; may be empty
  ByteView content;
};

/// A setting, parsed: as much of it as is everybody's at once, the collateral when evidence first needs it. Thread-safe.
class Setting {
 public:
  /// `certificate_malformed`, `root_untrusted`, `lab_root_not_trusted`, `policy_invalid` with the member.
  [[nodiscard]] static Result<std::shared_ptr<const Setting>> parse(std::span<const Part> parts);

  [[nodiscard]] const attestation::TrustAnchors& anchors() const noexcept { return anchors_; }
  [[nodiscard]] const policy::Policy& policy() const noexcept { return policy_; }
  /// The collateral for a quote: as `cloister verify` takes a file where there is one document, and a directory where
  /// there are several.
  [[nodiscard]] Result<verdict::DocumentsPtr> collateral_for(const evidence::Quote& quote) const;
  /// For an SNP report: the certificates, and what the documents have of them and of CRLs.
  [[nodiscard]] Result<evidence::SnpEndorsements> endorsements_for(const evidence::SnpReport& report) const;

  /// Whether it is made of exactly these.
  [[nodiscard]] bool is_of(std::span<const Part> parts) const noexcept;
  /// Of what it was made of; parsed, it is some times as large.
  [[nodiscard]] std::size_t bytes() const noexcept;

 private:
  struct Owned {
    Member member;
    std::string name;
    Bytes content;
  };
  using PlatformKey = std::tuple<evidence::TeeType, std::optional<ByteArray<6>>, std::optional<collateral::CaType>>;

  explicit Setting(std::span<const Part> parts);
  [[nodiscard]] std::vector<const Owned*> of(Member member) const;
  [[nodiscard]] Result<std::vector<crypto::x509::CertificatePtr>> read_certificates(Member member) const;
  [[nodiscard]] Result<attestation::TrustAnchors> read_anchors() const;
  [[nodiscard]] Result<policy::Policy> read_policy() const;
  [[nodiscard]] Result<collateral::Bundle> bundle() const;  // under the lock
  [[nodiscard]] Result<verdict::DocumentsPtr> documents(const evidence::QuoteCollateral& found) const;

  std::vector<Owned> parts_;
  std::vector<crypto::x509::CertificatePtr> certificates_;
  attestation::TrustAnchors anchors_;
  policy::Policy policy_;

  // What parsing the collateral gave; whoever needs it while somebody parses it waits. Refusals are not kept.
  mutable std::mutex lock_;
  mutable std::optional<collateral::Bundle> bundle_;
  mutable std::map<PlatformKey, verdict::DocumentsPtr> documents_;  // at most one for each that the documents have
};
using SettingPtr = std::shared_ptr<const Setting>;

/// Settings that were parsed, found by all of their bytes. Bounded; forgets what was longest unused. Thread-safe.
class Settings {
 public:
  static constexpr std::size_t kMost = 64;
  static constexpr std::size_t kMostBytes = 32U << 20;  // of what they were made of

  /// Null when it is not known.
  [[nodiscard]] SettingPtr find(std::span<const Part> parts) const;
  /// Nothing that is larger than all there is room for.
  void keep(SettingPtr setting);

 private:
  struct Kept {
    SettingPtr setting;
    std::atomic<std::uint64_t> used{0};
  };
  mutable std::shared_mutex lock_;  // of the list, not of when its elements were used
  std::vector<std::unique_ptr<Kept>> kept_;
  mutable std::atomic<std::uint64_t> uses_{0};
};

}  // namespace cloister::capi
