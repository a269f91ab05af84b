#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloister/attestation/verify.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"
#include "cloister/model/evidence_demand.hpp"

/// What a relying party demands of evidence that is authentic, and the decision.
namespace cloister::policy {

/// What a version of a challenge measures as, under names that only its owner gives a meaning to.
struct ReferenceValue {
  std::string challenge;
  std::string version;
  Digest48 mrtd{};
  Digest32 image_digest{};          // SHA-256 of the OCI manifest
  Digest32 configuration_digest{};  // SHA-256 of the measured configuration

  friend bool operator==(const ReferenceValue&, const ReferenceValue&) = default;
};

/// Measurements that one acceptable enclave, TD or SNP guest has; what is absent may be anything. A TDX member makes it
/// one of TDs, an SGX member one of enclaves, an SNP member one of SNP guests; never of two.
struct Measurements {
  std::optional<Digest48> mrtd;
  std::array<std::optional<Digest48>, 4> rtmr;
  std::optional<Digest48> mr_config_id;
  std::optional<Digest48> mr_owner;
  std::optional<Digest48> mr_owner_config;
  std::optional<Digest32> mr_enclave;
  std::optional<Digest32> mr_signer;
  std::optional<std::uint16_t> isv_prod_id;
  std::optional<std::uint16_t> min_isv_svn;
  std::optional<Digest48> measurement;        // SNP: launch digest
  std::optional<Digest32> host_data;
  std::optional<Digest48> id_key_digest;
  std::optional<Digest48> author_key_digest;
  std::optional<ByteArray<16>> family_id;
  std::optional<ByteArray<16>> image_id;
  std::optional<std::uint32_t> min_guest_svn;

  friend bool operator==(const Measurements&, const Measurements&) = default;
};

/// RTMR3 of a TD that measured this image and this configuration at launch (docs/protocol/launch.md).
[[nodiscard]] Digest48 launch_rtmr3(const Digest32& image_digest, const Digest32& configuration_digest);
/// RTMR3 of a validator's TD, which has a configuration but no image.
[[nodiscard]] Digest48 launch_rtmr3(const Digest32& configuration_digest);
/// MRTD, RTMR0 to RTMR2 zero, RTMR3 by `launch_rtmr3`.
[[nodiscard]] Measurements measurements_of(const ReferenceValue& value);

using model::ServerReference;
/// RTMR3 of a server's TD that measured this configuration.
[[nodiscard]] Digest48 server_rtmr3(const Digest32& configuration_digest);

/// The kinds of evidence that policies tell apart.
enum class Tee { sgx, tdx, snp };
[[nodiscard]] std::string_view to_string(Tee tee) noexcept;  // "sgx", "tdx", "snp"

/// What Intel's platforms must be, beyond their TCB status; `tdx`'s members concern TDs alone, the others SGX too.
struct DcapPolicy {
  std::optional<UnixTime> min_tcb_date;  // the oldest tcbDate of the matched levels (platform, module, QE) is no older
  /// An accepted status that says that the launch TCB is old (OutOfDate…, TDRelaunchAdvised…) is accepted until so many
  /// days after the oldest tcbDate of the matched levels, the last instant included; absent: for ever.
  std::optional<std::uint32_t> grace_period_days;
  std::optional<ByteArray<16>> min_sgx_components;  // SGX TCB component SVNs of the PCK certificate, one by one
  std::optional<ByteArray<16>> min_tdx_components;  // bytes of TEE_TCB_SVN, one by one
  std::optional<std::uint16_t> min_pce_svn;         // of the PCK certificate
  std::vector<Digest48> mr_seam;                    // TDX modules by measurement, and by signer (zeros: Intel's);
  std::vector<Digest48> mr_signer_seam;             // empty: any that Intel's collateral knows
  bool allow_service_td = true;                     // MRSERVICETD is not zero
  /// Flags of the PCK certificate. Where one is not allowed, a certificate that does not say is refused as well.
  bool allow_dynamic_platform = true;
  bool allow_cached_keys = true;
  bool allow_smt = true;

  friend bool operator==(const DcapPolicy&, const DcapPolicy&) = default;
};

/// What SNP guests and their hosts must be, beyond what holds for every kind.
struct SnpPolicy {
  bool allow_vlek = true;                   // a key of the cloud provider's, instead of the chip's
  bool allow_masked_chip_id = true;
  bool allow_host_requested = false;        // reports that the host asked for, not a guest
  bool allow_provisional_firmware = true;   // current firmware that is not committed: the host can go back
  bool require_crl = false;                 // the revocation of ASK or ASVK was checked
  std::optional<std::uint8_t> max_vmpl;     // 0 to 3
  /// Of the reported and the launch TCB, by product; a product that is not listed is refused. Empty: any.
  std::vector<std::pair<evidence::SnpProduct, evidence::SnpTcb>> min_tcb;
  std::vector<std::pair<evidence::SnpProduct, evidence::SnpTcb>> min_launch_tcb;
  std::uint64_t required_policy = 0;        // bits of the guest policy that must be set
  std::uint64_t forbidden_policy = 0;
  std::uint64_t required_platform = 0;      // bits of PLATFORM_INFO
  std::uint64_t forbidden_platform = 0;
  std::uint64_t required_mitigations = 0;   // in the launch and in the current mitigation vector (report version 5)

  friend bool operator==(const SnpPolicy&, const SnpPolicy&) = default;
};

/// An appraisal policy; a value. The default demands UpToDate and no debug, and accepts any measurement.
struct Policy {
  std::optional<std::vector<Tee>> accepted_tees;  // when given: no others
  std::vector<attestation::TcbStatus> accepted_statuses = {attestation::TcbStatus::up_to_date};
  bool allow_debug = false;
  bool allow_migratable = true;
  bool allow_trailing_bytes = true;
  bool require_ve_disable = false;    // TDX: SEPT_VE_DISABLE must be set
  bool allow_reserved_attributes = false;
  std::uint32_t min_evaluation_data_number = 0;  // of TCB info and QE identity
  std::optional<std::vector<std::string>> allowed_advisories;  // when given: no others
  std::vector<std::string> denied_advisories;
  std::vector<Measurements> measurements;  // one of them must fit; empty: any
  DcapPolicy dcap;
  SnpPolicy snp;

  friend bool operator==(const Policy&, const Policy&) = default;
};

inline constexpr std::size_t kMaxPolicySize = 256 * 1024;

/// JSON: {"version":1,"accepted_statuses":["UpToDate",…],"allow_debug":false,…,"measurements":[{"mrtd":hex,…}]}, every
/// member but the version optional; a measurement may also be {"mrtd":…,"image_digest":"sha256:…",
/// "configuration_digest":"sha256:…"}. Strict: `policy_invalid` with the member. `Revoked` and `NotSupported` cannot be
/// accepted. The member "dcap" is an object with the members of `DcapPolicy` (times as RFC 3339, components as 16 numbers,
/// modules as lists of hex), "snp" one with those of `SnpPolicy`: TCBs as {"Milan":{"bootloader":…,"tee":…,
/// "snp":…,"microcode":…,"fmc":…}}, bits as lists of names (docs/cli.md), mitigations as hex ("0x…").
[[nodiscard]] Result<Policy> parse_policy(std::string_view json);
[[nodiscard]] codec::json::Value to_json(const Policy& policy);
/// SHA-256 of the canonical JSON: compact, every member written, in a fixed order. Equal policies, equal digests.
[[nodiscard]] Digest32 digest(const Policy& policy);

/// Why evidence was not accepted; never empty for a refusal.
struct Reason {
  Errc code;
  std::string detail;
};

struct Decision {
  bool accepted = false;
  std::vector<Reason> reasons;  // all of them, in the order of the policy's members; empty when accepted
  Digest32 policy_digest{};

  /// The first reason as an error; only for a refusal.
  [[nodiscard]] Error error() const;
};

/// Evidence that was authentic, bound and accepted by a policy. Made by `appraise` only.
class Appraised {
 public:
  [[nodiscard]] const attestation::Claims& claims() const noexcept { return evidence_.claims(); }
  [[nodiscard]] const attestation::Tcb& tcb() const noexcept { return evidence_.tcb(); }
  [[nodiscard]] const attestation::Report& report() const noexcept { return evidence_.report(); }
  [[nodiscard]] bool lab() const noexcept { return evidence_.lab(); }
  [[nodiscard]] const Digest32& policy_digest() const noexcept { return policy_digest_; }

 private:
  friend struct Appraiser;
  Appraised(attestation::BoundEvidence evidence, const Digest32& policy_digest)
      : evidence_{std::move(evidence)}, policy_digest_{policy_digest} {}
  attestation::BoundEvidence evidence_;
  Digest32 policy_digest_;
};

struct Appraisal {
  Decision decision;
  std::optional<Appraised> appraised;  // exactly when accepted
};

/// The decision alone: for showing it, also of evidence that nobody asked to be bound. `now` ends grace periods.
[[nodiscard]] Decision decide(const Policy& policy, const attestation::AuthenticEvidence& evidence, UnixTime now);
/// Pure; thread-safe.
[[nodiscard]] Appraisal appraise(const Policy& policy, attestation::BoundEvidence evidence, UnixTime now);

}  // namespace cloister::policy
