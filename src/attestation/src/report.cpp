#include "cloister/attestation/report.hpp"

#include <algorithm>

namespace cloister::attestation {
namespace {

/// TDATTRIBUTES (Intel TDX Module 1.5 ABI Reference 348551, "TD Attributes").
constexpr std::uint64_t bit(unsigned n) { return std::uint64_t{1} << n; }
constexpr std::uint64_t kTud = 0xFF;  // a TD that has any of these is a TD under debug
constexpr std::uint64_t kSeptVeDisable = bit(28);
constexpr std::uint64_t kMigratable = bit(29);
constexpr std::uint64_t kDefined = kTud | bit(16) /* ICSSD */ | bit(27) /* LASS */ | kSeptVeDisable | kMigratable |
                                   bit(30) /* PKS */ | bit(31) /* KL */ | bit(62) /* TPA */ | bit(63) /* PERFMON */;

}  // namespace

std::string_view to_string(CheckId id) noexcept {
  switch (id) {
    case CheckId::quote_format: return "quote_format";
    case CheckId::trailing_bytes: return "trailing_bytes";
    case CheckId::pck_chain: return "pck_chain";
    case CheckId::pck_dates: return "pck_dates";
    case CheckId::root_crl: return "root_crl";
    case CheckId::pck_crl: return "pck_crl";
    case CheckId::pck_revocation: return "pck_revocation";
    case CheckId::pck_extension: return "pck_extension";
    case CheckId::tcb_info_chain: return "tcb_info_chain";
    case CheckId::tcb_info_signature: return "tcb_info_signature";
    case CheckId::tcb_info_dates: return "tcb_info_dates";
    case CheckId::tcb_info_match: return "tcb_info_match";
    case CheckId::qe_identity_chain: return "qe_identity_chain";
    case CheckId::qe_identity_signature: return "qe_identity_signature";
    case CheckId::qe_identity_dates: return "qe_identity_dates";
    case CheckId::qe_identity_match: return "qe_identity_match";
    case CheckId::qe_report_signature: return "qe_report_signature";
    case CheckId::qe_report_data: return "qe_report_data";
    case CheckId::qe_report: return "qe_report";
    case CheckId::quote_signature: return "quote_signature";
    case CheckId::tdx_module: return "tdx_module";
    case CheckId::report_format: return "report_format";
    case CheckId::vek_chain: return "vek_chain";
    case CheckId::vek_dates: return "vek_dates";
    case CheckId::vek_crl: return "vek_crl";
    case CheckId::vek_revocation: return "vek_revocation";
    case CheckId::vek_extension: return "vek_extension";
    case CheckId::vek_product: return "vek_product";
    case CheckId::vek_kind: return "vek_kind";
    case CheckId::chip_key: return "chip_key";
    case CheckId::vek_tcb: return "vek_tcb";
    case CheckId::vek_chip_id: return "vek_chip_id";
    case CheckId::tcb_order: return "tcb_order";
    case CheckId::report_signature: return "report_signature";
    case CheckId::report_data: return "report_data";
  }
  return "unknown";
}

std::string_view to_string(CheckResult result) noexcept {
  switch (result) {
    case CheckResult::pass: return "pass";
    case CheckResult::fail: return "fail";
    case CheckResult::skipped: return "skipped";
  }
  return "skipped";
}

const evidence::SgxReport* Claims::sgx() const noexcept {
  return dcap() != nullptr ? std::get_if<evidence::SgxReport>(&dcap()->body) : nullptr;
}

const evidence::TdBody* Claims::td() const noexcept {
  return dcap() != nullptr ? std::get_if<evidence::TdBody>(&dcap()->body) : nullptr;
}

const Digest64& Claims::report_data() const noexcept {
  if (snp() != nullptr) return snp()->report.report_data;
  return td() != nullptr ? td()->report_data : sgx()->report_data;
}

AttributeFindings attribute_findings(const Claims& claims) noexcept {
  if (const auto* snp = claims.snp()) {
    const auto& report = snp->report;
    return {.debug = (report.policy & evidence::snp_policy::kDebug) != 0,
            .migratable = (report.policy & evidence::snp_policy::kMigrateMa) != 0,
            .reserved_bits = (report.policy & ~evidence::snp_policy::kDefined) != 0 ||
                             (report.platform_info & ~evidence::snp_platform::kDefined) != 0};
  }
  if (const auto* enclave = claims.sgx()) return {.debug = enclave->debug()};
  const auto& td = *claims.td();
  return {.debug = (td.td_attributes & kTud) != 0,
          .migratable = (td.td_attributes & kMigratable) != 0,
          .ve_not_disabled = (td.td_attributes & kSeptVeDisable) == 0,
          .reserved_bits = (td.td_attributes & ~kDefined) != 0,
          .service_td = td.v15 && !all_zero(td.v15->mr_service_td)};
}

bool Report::authentic() const noexcept {
  return std::ranges::none_of(checks, [](const Check& check) { return check.result == CheckResult::fail; });
}

std::optional<Error> Report::error() const {
  const auto failed = std::ranges::find(checks, CheckResult::fail, &Check::result);
  if (failed == checks.end()) return std::nullopt;
  return Error{failed->code.value_or(Errc::internal), failed->detail};
}

const Check& Report::check(CheckId id) const noexcept {
  const auto found = std::ranges::find(checks, id, &Check::id);
  CLOISTER_ASSERT(found != checks.end());
  return *found;
}

}  // namespace cloister::attestation
