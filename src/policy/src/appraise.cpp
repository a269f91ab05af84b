#include <algorithm>

#include "cloister/codec/text.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/policy/policy.hpp"
#include "cloister/protocol/launch.hpp"
#include "measurement_kind.hpp"

namespace cloister::policy {
namespace {

using attestation::Claims;

/// A TCB that lacks what Intel demands by now, at least the one that the TD was launched on.
bool old(attestation::TcbStatus status) {
  using attestation::TcbStatus;
  switch (status) {
    case TcbStatus::out_of_date:
    case TcbStatus::out_of_date_configuration_needed:
    case TcbStatus::td_relaunch_advised:
    case TcbStatus::td_relaunch_advised_configuration_needed: return true;
    case TcbStatus::up_to_date:
    case TcbStatus::sw_hardening_needed:
    case TcbStatus::configuration_needed:
    case TcbStatus::configuration_and_sw_hardening_needed:
    case TcbStatus::revoked:
    case TcbStatus::not_supported: return false;
  }
  return false;
}

/// The part of a decision that is about Intel's quotes alone.
class DcapJudge {
 public:
  DcapJudge(const Policy& policy, const attestation::AuthenticEvidence& evidence, UnixTime now, std::vector<Reason>& reasons)
      : policy_{policy}, evidence_{evidence}, now_{now}, reasons_{reasons} {}

  void judge_status() {
    const auto got = evidence_.tcb().status;
    const bool listed = std::ranges::find(policy_.accepted_statuses, got) != policy_.accepted_statuses.end();
    const bool hopeless = got == attestation::TcbStatus::revoked || got == attestation::TcbStatus::not_supported;
    if (!listed || hopeless) return refuse(Errc::tcb_status_not_accepted, "the TCB is " + std::string{attestation::to_string(got)});
    if (old(got)) grace();
  }
  void judge_documents() {
    evaluation_numbers();
    advisories();
  }
  void judge_platform() {
    tcb_date();
    const auto& platform = *evidence_.claims().dcap()->platform;
    if (const auto& least = policy_.dcap.min_sgx_components) at_least("SGX TCB component", platform.components, *least);
    if (const auto& least = policy_.dcap.min_pce_svn; least && platform.pce_svn < *least) {
      refuse(Errc::tcb_too_low, below("PCESVN", platform.pce_svn, *least));
    }
    flags(platform.configuration.value_or(evidence::PckConfiguration{}));
    if (const auto* td = evidence_.claims().td()) module(*td);
  }

 private:
  void refuse(Errc code, std::string detail) { reasons_.push_back({code, std::move(detail)}); }

  /// As Intel's appraisal library has it: the date of the level that the platform reached, and not of the one that it
  /// lacks, since the platform has every mitigation that was published until then.
  void grace() {
    const auto days = policy_.dcap.grace_period_days;
    if (!days) return;
    const auto date = evidence_.tcb().tcb_date;
    if (!date) return refuse(Errc::tcb_status_not_accepted, "the TCB is old, and no date of it is known");
    const auto end = *date + std::chrono::days{*days};
    if (now_ <= end) return;
    refuse(Errc::tcb_status_not_accepted, "the TCB is " + std::string{attestation::to_string(evidence_.tcb().status)} +
                                              ", its grace period ended at " + to_rfc3339(end));
  }

  void evaluation_numbers() {
    const auto at_least = [&](std::string_view document, std::uint32_t number) {
      if (number >= policy_.min_evaluation_data_number) return;
      refuse(Errc::evaluation_data_number_too_low, std::string{document} + " has number " + std::to_string(number) + ", at least " +
                                                       std::to_string(policy_.min_evaluation_data_number) + " demanded");
    };
    at_least("the TCB info", evidence_.tcb().tcb_info_number);
    at_least("the QE identity", evidence_.tcb().qe_identity_number);
  }

  void advisories() {
    const auto in = [](const std::vector<std::string>& list, const std::string& id) {
      return std::ranges::find(list, id) != list.end();
    };
    for (const auto& id : evidence_.tcb().advisory_ids) {
      if (in(policy_.denied_advisories, id)) {
        refuse(Errc::advisory_not_accepted, id + " is denied");
      } else if (policy_.allowed_advisories && !in(*policy_.allowed_advisories, id)) {
        refuse(Errc::advisory_not_accepted, id + " is not among the allowed ones");
      }
    }
  }

  static std::string below(std::string_view what, unsigned have, unsigned need) {
    return std::string{what} + " is " + std::to_string(have) + ", at least " + std::to_string(need) + " demanded";
  }
  void at_least(std::string_view what, const ByteArray<16>& have, const ByteArray<16>& least) {
    for (std::size_t i = 0; i < have.size(); ++i) {
      if (have[i] < least[i]) refuse(Errc::tcb_too_low, below(std::string{what} + ' ' + std::to_string(i), have[i], least[i]));
    }
  }

  void tcb_date() {
    const auto& least = policy_.dcap.min_tcb_date;
    if (!least) return;
    const auto& date = evidence_.tcb().tcb_date;
    if (date && *date >= *least) return;
    refuse(Errc::tcb_too_low, "the TCB is " + (date ? "of " + to_rfc3339(*date) : "of no known date") + ", " +
                                  to_rfc3339(*least) + " or later demanded");
  }

  void flags(const evidence::PckConfiguration& platform) {
    const auto check = [this](bool allowed, std::optional<bool> flag, std::string_view name) {
      if (allowed || flag == false) return;
      refuse(Errc::platform_not_accepted, std::string{name} + (flag ? " is set" : " is not given") + " in the PCK certificate");
    };
    check(policy_.dcap.allow_dynamic_platform, platform.dynamic_platform, "dynamicPlatform");
    check(policy_.dcap.allow_cached_keys, platform.cached_keys, "cachedKeys");
    check(policy_.dcap.allow_smt, platform.smt_enabled, "smtEnabled");
  }

  void module(const evidence::TdBody& td) {
    if (const auto& least = policy_.dcap.min_tdx_components) at_least("TDX TCB component", td.tee_tcb_svn, *least);
    const auto among = [this](std::string_view what, const std::vector<Digest48>& list, const Digest48& got) {
      if (list.empty() || std::ranges::find(list, got) != list.end()) return;
      refuse(Errc::platform_not_accepted, std::string{what} + ' ' + codec::to_hex(got) + " of the TDX module is not accepted");
    };
    among("MRSEAM", policy_.dcap.mr_seam, td.mr_seam);
    among("MRSIGNERSEAM", policy_.dcap.mr_signer_seam, td.mr_signer_seam);
    if (!policy_.dcap.allow_service_td && attestation::attribute_findings(evidence_.claims()).service_td) {
      refuse(Errc::attributes_not_accepted, "a service TD is bound to it");
    }
  }

  const Policy& policy_;
  const attestation::AuthenticEvidence& evidence_;
  UnixTime now_;
  std::vector<Reason>& reasons_;
};

/// The part of a decision that is about SNP guests alone.
class SnpJudge {
 public:
  SnpJudge(const SnpPolicy& policy, const attestation::SnpClaims& claims, const attestation::Report& report,
           std::vector<Reason>& reasons)
      : policy_{policy}, claims_{claims}, body_{claims.report}, report_{report}, reasons_{reasons} {}

  void judge() {
    keys();
    privilege();
    tcb("reported", policy_.min_tcb, body_.reported_tcb);
    tcb("launch", policy_.min_launch_tcb, body_.launch_tcb);
    firmware();
    bits("guest policy", body_.policy, policy_.required_policy, policy_.forbidden_policy, Errc::attributes_not_accepted);
    bits("platform info", body_.platform_info, policy_.required_platform, policy_.forbidden_platform,
         Errc::platform_not_accepted);
    mitigations();
  }

 private:
  void refuse(Errc code, std::string detail) { reasons_.push_back({code, std::move(detail)}); }

  void keys() {
    if (body_.signing_key == evidence::VekKind::vlek && !policy_.allow_vlek) {
      refuse(Errc::signing_key_not_accepted, "it is signed by a VLEK, the cloud provider's key");
    }
    if (body_.chip_id_masked() && !policy_.allow_masked_chip_id) refuse(Errc::chip_id_not_accepted, "the chip id is masked");
    if (policy_.require_crl && report_.check(attestation::CheckId::vek_revocation).result != attestation::CheckResult::pass) {
      refuse(Errc::revocation_not_checked, "no CRL was given");
    }
  }

  void privilege() {
    if (body_.vmpl == evidence::kSnpVmplHost) {
      if (!policy_.allow_host_requested) refuse(Errc::vmpl_not_accepted, "the host requested the report, no guest did");
      return;
    }
    if (policy_.max_vmpl && body_.vmpl > *policy_.max_vmpl) {
      refuse(Errc::vmpl_not_accepted, "VMPL " + std::to_string(body_.vmpl) + ", at most " + std::to_string(*policy_.max_vmpl) + " accepted");
    }
  }

  void tcb(std::string_view name, const std::vector<std::pair<evidence::SnpProduct, evidence::SnpTcb>>& minimum,
           const evidence::SnpTcbVersion& version) {
    if (minimum.empty()) return;
    const auto product = *claims_.product;
    const auto found = std::ranges::find(minimum, product, [](const auto& entry) { return entry.first; });
    if (found == minimum.end()) {
      return refuse(Errc::tcb_too_low, "no " + std::string{name} + " TCB of " + std::string{evidence::to_string(product)} + " is accepted");
    }
    for (const auto& gap : evidence::snp_tcb_gaps(evidence::snp_tcb(version, product), found->second)) {
      refuse(Errc::tcb_too_low, std::string{gap.component} + " of the " + std::string{name} + " TCB is " +
                                    std::to_string(gap.have) + ", at least " + std::to_string(gap.need) + " demanded");
    }
  }

  void firmware() {
    const bool committed = body_.committed_tcb == body_.current_tcb && body_.committed_version == body_.current_version;
    if (committed || policy_.allow_provisional_firmware) return;
    refuse(Errc::provisional_firmware_not_accepted, "the current firmware is not committed");
  }

  void bits(std::string_view name, std::uint64_t value, std::uint64_t required, std::uint64_t forbidden, Errc code) {
    const auto hex = [](std::uint64_t mask) {
      ByteArray<8> big_endian;
      for (std::size_t i = 0; i < 8; ++i) big_endian[i] = static_cast<std::uint8_t>(mask >> (56 - 8 * i));
      return "0x" + codec::to_hex(big_endian);
    };
    if (const auto missing = required & ~value; missing != 0) refuse(code, std::string{name} + ": " + hex(missing) + " are not set");
    if (const auto set = forbidden & value; set != 0) refuse(code, std::string{name} + ": " + hex(set) + " are set");
  }

  void mitigations() {
    if (policy_.required_mitigations == 0) return;
    const auto vector = body_.mitigations.value_or(evidence::SnpMitigations{});
    const auto required = policy_.required_mitigations;
    bits("launch mitigations", vector.launch, required, 0, Errc::mitigations_not_accepted);
    bits("current mitigations", vector.current, required, 0, Errc::mitigations_not_accepted);
  }

  const SnpPolicy& policy_;
  const attestation::SnpClaims& claims_;
  const evidence::SnpReportBody& body_;
  const attestation::Report& report_;
  std::vector<Reason>& reasons_;
};

/// Collects the reasons of one decision.
class Judge {
 public:
  Judge(const Policy& policy, const attestation::AuthenticEvidence& evidence, UnixTime now)
      : policy_{policy}, evidence_{evidence}, now_{now} {}

  std::vector<Reason> reasons() && {
    kind();
    const bool dcap = evidence_.claims().dcap() != nullptr;
    DcapJudge quotes{policy_, evidence_, now_, reasons_};
    if (dcap) quotes.judge_status();
    attributes();
    trailing_bytes();
    if (dcap) quotes.judge_documents();
    measurements();
    if (dcap) quotes.judge_platform();
    if (const auto* snp = evidence_.claims().snp()) SnpJudge{policy_.snp, *snp, evidence_.report(), reasons_}.judge();
    return std::move(reasons_);
  }

 private:
  void refuse(Errc code, std::string detail) { reasons_.push_back({code, std::move(detail)}); }

  void kind() {
    const auto& claims = evidence_.claims();
    const auto tee = claims.snp() != nullptr ? Tee::snp : claims.td() != nullptr ? Tee::tdx : Tee::sgx;
    if (!policy_.accepted_tees || std::ranges::find(*policy_.accepted_tees, tee) != policy_.accepted_tees->end()) return;
    refuse(Errc::evidence_unsupported, "evidence of " + std::string{to_string(tee)} + " is not accepted");
  }

  void attributes() {
    const auto found = attestation::attribute_findings(evidence_.claims());
    if (found.debug && !policy_.allow_debug) refuse(Errc::debug_not_accepted, "it runs under debug: its memory is not private");
    if (found.migratable && !policy_.allow_migratable) refuse(Errc::attributes_not_accepted, "the guest is migratable");
    const bool td = evidence_.claims().td() != nullptr;
    if (td && found.ve_not_disabled && policy_.require_ve_disable) {
      refuse(Errc::attributes_not_accepted, "SEPT_VE_DISABLE is not set");
    }
    if (found.reserved_bits && !policy_.allow_reserved_attributes) {
      refuse(Errc::attributes_not_accepted, "reserved bits of its attributes are set");
    }
  }

  void trailing_bytes() {
    const auto count = evidence_.report().trailing_bytes;
    if (count > 0 && !policy_.allow_trailing_bytes) {
      refuse(Errc::trailing_bytes_not_accepted, std::to_string(count) + " bytes follow the quote");
    }
  }

  void measurements() {
    if (policy_.measurements.empty()) return;
    const auto fits = [&](const Measurements& wanted) { return has(evidence_.claims(), wanted); };
    if (std::ranges::any_of(policy_.measurements, fits)) return;
    refuse(Errc::measurement_not_accepted, "none of " + std::to_string(policy_.measurements.size()) + " measurements fits; " +
                                               describe(evidence_.claims()));
  }

  template <std::size_t N>
  static bool equal(const std::optional<ByteArray<N>>& wanted, const ByteArray<N>& got) {
    return !wanted || *wanted == got;
  }

  /// A measurement without any member fits nothing.
  static bool has(const Claims& claims, const Measurements& wanted) {
    if (wanted == Measurements{}) return false;
    if (const auto* snp = claims.snp()) return !of_td(wanted) && !of_enclave(wanted) && snp_has(snp->report, wanted);
    if (const auto* td = claims.td()) return !of_enclave(wanted) && !of_snp_guest(wanted) && td_has(*td, wanted);
    return !of_td(wanted) && !of_snp_guest(wanted) && enclave_has(*claims.sgx(), wanted);
  }
  static bool snp_has(const evidence::SnpReportBody& report, const Measurements& wanted) {
    return equal(wanted.measurement, report.measurement) && equal(wanted.host_data, report.host_data) &&
           equal(wanted.id_key_digest, report.id_key_digest) &&
           equal(wanted.author_key_digest, report.author_key_digest) && equal(wanted.family_id, report.family_id) &&
           equal(wanted.image_id, report.image_id) && (!wanted.min_guest_svn || *wanted.min_guest_svn <= report.guest_svn);
  }
  static bool td_has(const evidence::TdBody& td, const Measurements& wanted) {
    for (std::size_t i = 0; i < td.rtmr.size(); ++i) {
      if (!equal(wanted.rtmr[i], td.rtmr[i])) return false;
    }
    return equal(wanted.mrtd, td.mr_td) && equal(wanted.mr_config_id, td.mr_config_id) &&
           equal(wanted.mr_owner, td.mr_owner) && equal(wanted.mr_owner_config, td.mr_owner_config);
  }
  static bool enclave_has(const evidence::SgxReport& enclave, const Measurements& wanted) {
    return equal(wanted.mr_enclave, enclave.mr_enclave) && equal(wanted.mr_signer, enclave.mr_signer) &&
           (!wanted.isv_prod_id || *wanted.isv_prod_id == enclave.isv_prod_id) &&
           (!wanted.min_isv_svn || *wanted.min_isv_svn <= enclave.isv_svn);
  }

  static std::string describe(const Claims& claims) {
    if (const auto* snp = claims.snp()) return "measurement " + codec::to_hex(snp->report.measurement);
    if (const auto* td = claims.td()) return "MRTD " + codec::to_hex(td->mr_td) + ", RTMR3 " + codec::to_hex(td->rtmr[3]);
    return "MRENCLAVE " + codec::to_hex(claims.sgx()->mr_enclave) + ", MRSIGNER " + codec::to_hex(claims.sgx()->mr_signer);
  }

  const Policy& policy_;
  const attestation::AuthenticEvidence& evidence_;
  UnixTime now_;
  std::vector<Reason> reasons_;
};

}  // namespace

struct Appraiser {
  static Appraised make(attestation::BoundEvidence evidence, const Digest32& policy) {
    return Appraised{std::move(evidence), policy};
  }
};

Digest48 launch_rtmr3(const Digest32& configuration_digest) {
  return measure::rtmr_extend({}, evidence::guest_event_digest(protocol::kConfigurationEvent, configuration_digest));
}

Digest48 launch_rtmr3(const Digest32& image_digest, const Digest32& configuration_digest) {
  const auto image = measure::rtmr_extend({}, evidence::guest_event_digest(protocol::kImageEvent, image_digest));
  return measure::rtmr_extend(image, evidence::guest_event_digest(protocol::kConfigurationEvent, configuration_digest));
}

Measurements measurements_of(const ReferenceValue& value) {
  Measurements out;
  out.mrtd = value.mrtd;
  out.rtmr = {Digest48{}, Digest48{}, Digest48{}, launch_rtmr3(value.image_digest, value.configuration_digest)};
  return out;
}

Error Decision::error() const {
  CLOISTER_ASSERT(!reasons.empty());
  return Error{reasons.front().code, reasons.front().detail};
}

std::string_view to_string(Tee tee) noexcept {
  switch (tee) {
    case Tee::sgx: return "sgx";
    case Tee::tdx: return "tdx";
    case Tee::snp: return "snp";
  }
  return "";
}

Decision decide(const Policy& policy, const attestation::AuthenticEvidence& evidence, UnixTime now) {
  auto reasons = Judge{policy, evidence, now}.reasons();
  const bool accepted = reasons.empty();
  return {.accepted = accepted, .reasons = std::move(reasons), .policy_digest = digest(policy)};
}

Appraisal appraise(const Policy& policy, attestation::BoundEvidence evidence, UnixTime now) {
  Appraisal out{decide(policy, evidence.authentic(), now), std::nullopt};
  if (out.decision.accepted) out.appraised = Appraiser::make(std::move(evidence), out.decision.policy_digest);
  return out;
}

}  // namespace cloister::policy
