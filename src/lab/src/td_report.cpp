#include "td_report.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::lab::tdx {
namespace {

constexpr std::size_t kMacOffset = 224;
constexpr std::size_t kMacSize = 32;
constexpr std::size_t kMacStructSize = 256;
constexpr std::size_t kTcbInfoSize = 239;
constexpr std::size_t kTcbInfoArea = 256;  // with the reserved bytes behind it
constexpr std::size_t kTdInfoSize = 512;
constexpr std::size_t kTdIdentitySize = 400;
constexpr std::uint64_t kTcbInfoValid = 0x301FF;  // every field up to TEE_TCB_SVN2
constexpr std::uint8_t kTypeTdx = 0x81;

ByteView tcb_info_of(ByteView report) { return report.subspan(kMacStructSize, kTcbInfoSize); }
ByteView td_info_of(ByteView report) { return report.subspan(kMacStructSize + kTcbInfoArea, kTdInfoSize); }

Bytes encode_tcb_info(const ModuleInfo& module) {
  codec::Writer w;
  w.u64le(kTcbInfoValid);
  w.raw(module.tee_tcb_svn);
  w.raw(module.mr_seam);
  w.raw(module.mr_signer_seam);
  w.u64le(module.seam_attributes);
  w.raw(module.tee_tcb_svn);  // TEE_TCB_SVN2: the module that runs now, which is the one that launched the TD
  w.zeros(kTcbInfoSize - w.size());
  return std::move(w).take();
}

Bytes encode_td_info(const TdIdentity& td) {
  codec::Writer w;
  w.u64le(td.params.attributes);
  w.u64le(td.params.xfam);
  w.raw(td.mrtd);
  w.raw(td.params.mrconfigid);
  w.raw(td.params.mrowner);
  w.raw(td.params.mrownerconfig);
  for (const auto& rtmr : td.rtmrs) w.raw(rtmr);
  w.zeros(kTdInfoSize - w.size());  // SERVTD_HASH too: no service TD is bound
  return std::move(w).take();
}

}  // namespace

ReportFields fields_of(ByteView report) {
  CLOISTER_ASSERT(report.size() == kTdReportSize);
  const auto tcb_info = tcb_info_of(report);
  const auto td_info = td_info_of(report);
  return {.report_data = report.subspan(128, 64),
          .tee_tcb_svn = tcb_info.subspan(8, 16),
          .mr_seam = tcb_info.subspan(24, 48),
          .mr_signer_seam = tcb_info.subspan(72, 48),
          .seam_attributes = tcb_info.subspan(120, 8),
          .tee_tcb_svn2 = tcb_info.subspan(128, 16),
          .td_identity = td_info.first(kTdIdentitySize),
          .servtd_hash = td_info.subspan(kTdIdentitySize, 48)};
}

TdReportBytes make_report(const ModuleInfo& module, const TdIdentity& td, const Digest64& report_data,
                          const ReportKey& key) {
  const auto tcb_info = encode_tcb_info(module);
  const auto td_info = encode_td_info(td);
  codec::Writer w;
  w.u8(kTypeTdx);
  w.zeros(15);
  w.raw(module.cpu_svn);
  w.raw(crypto::sha384(tcb_info));
  w.raw(crypto::sha384(td_info));
  w.raw(report_data);
  w.zeros(kMacStructSize - w.size());
  w.raw(tcb_info);
  w.zeros(kTcbInfoArea - kTcbInfoSize);
  w.raw(td_info);
  auto report = to_array<kTdReportSize>(w.bytes());
  key.seal(report);
  return report;
}

void ReportKey::seal(std::span<std::uint8_t, kTdReportSize> report) const {
  const auto mac = crypto::hmac_sha256(key_.reveal(), report.first<kMacOffset>());
  std::ranges::copy(mac, report.begin() + kMacOffset);
}

Status ReportKey::verify(ByteView report) const {
  constexpr Status kRefused{Code::invalid_reportmacstruct};
  if (report.size() != kTdReportSize || report[0] != kTypeTdx) return kRefused;
  const auto mac = crypto::hmac_sha256(key_.reveal(), report.first(kMacOffset));
  if (!crypto::equal(mac, report.subspan(kMacOffset, kMacSize))) return kRefused;
  if (!same_bytes(crypto::sha384(tcb_info_of(report)), report.subspan(32, 48))) return kRefused;
  if (!same_bytes(crypto::sha384(td_info_of(report)), report.subspan(80, 48))) return kRefused;
  return {};
}

}  // namespace cloister::lab::tdx
