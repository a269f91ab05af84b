#include "td_report.hpp"

#include <algorithm>

#include "cloister/crypto/hash.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr std::size_t kMacOffset = evidence::kReportMacCovered;
constexpr std::size_t kMacSize = 32;
// TEE_TCB_INFO.VALID: one bit for each field that is there, TEE_TCB_SVN2 included.
constexpr ByteArray<8> kTcbInfoValid{0xFF, 0x01, 0x03};

evidence::TeeTcbInfo tcb_info(const Modules& modules) {
  const auto& module = modules.launched_by;
  evidence::TeeTcbInfo info;
  info.valid = kTcbInfoValid;
  info.tee_tcb_svn = module.tee_tcb_svn;
  info.mr_seam = module.mr_seam;
  info.mr_signer_seam = module.mr_signer_seam;
  info.attributes = module.seam_attributes;
  info.tee_tcb_svn2 = modules.running.tee_tcb_svn;
  return info;
}

evidence::TdInfo td_info(const TdIdentity& td) {
  evidence::TdInfo info;
  info.attributes = td.params.attributes;
  info.xfam = td.params.xfam;
  info.mr_td = td.mrtd;
  info.mr_config_id = td.params.mrconfigid;
  info.mr_owner = td.params.mrowner;
  info.mr_owner_config = td.params.mrownerconfig;
  info.rtmr = td.rtmrs;
  info.servtd_hash = td.servtd_hash;
  return info;
}

}  // namespace

TdReportBytes make_report(const Modules& modules, const TdIdentity& td, const Digest64& report_data,
                          const ReportKey& key) {
  evidence::TdReport report;
  report.tcb = tcb_info(modules);
  report.info = td_info(td);
  report.mac.version = td.has_service_td ? 1 : 0;
  report.mac.cpu_svn = modules.running.cpu_svn;
  report.mac.tee_tcb_info_hash = crypto::sha384(evidence::encode_tee_tcb_info(report.tcb));
  report.mac.tee_info_hash = crypto::sha384(evidence::encode_td_info(report.info));
  report.mac.report_data = report_data;
  auto bytes = to_array<evidence::kTdReportSize>(evidence::encode_td_report(report));
  key.seal(bytes);
  return bytes;
}

Digest48 service_td_hash(const TdIdentity& td, ServtdAttributes attributes) {
  const auto ignored = [bits = attributes.bits >> 32](unsigned field) { return (bits >> field & 1) != 0; };
  auto info = td_info(td);
  if (ignored(0)) info.attributes = 0;
  if (ignored(1)) info.xfam = 0;
  if (ignored(2)) info.mr_td = {};
  if (ignored(3)) info.mr_config_id = {};
  if (ignored(4)) info.mr_owner = {};
  if (ignored(5)) info.mr_owner_config = {};
  for (unsigned i = 0; i < info.rtmr.size(); ++i) {
    if (ignored(6 + i)) info.rtmr[i] = {};
  }
  if (ignored(10)) info.servtd_hash = {};
  return crypto::sha384(evidence::encode_td_info(info));
}

void ReportKey::seal(std::span<std::uint8_t, evidence::kTdReportSize> report) const {
  const auto mac = crypto::hmac_sha256(key_.reveal(), report.first<kMacOffset>());
  std::ranges::copy(mac, report.begin() + kMacOffset);
}

Status ReportKey::verify(ByteView bytes) const {
  constexpr Status kRefused{Code::invalid_reportmacstruct};
  const auto report = evidence::parse_td_report(bytes);
  if (!report) return kRefused;
  const auto mac = crypto::hmac_sha256(key_.reveal(), bytes.first(kMacOffset));
  if (!crypto::equal(mac, bytes.subspan(kMacOffset, kMacSize))) return kRefused;
  if (crypto::sha384(evidence::encode_tee_tcb_info(report->tcb)) != report->mac.tee_tcb_info_hash) return kRefused;
  if (crypto::sha384(evidence::encode_td_info(report->info)) != report->mac.tee_info_hash) return kRefused;
  return {};
}

}  // namespace cloister::lab::tdx
