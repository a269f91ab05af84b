#include "cloister/evidence/td_report.hpp"

#include "fields.hpp"

namespace cloister::evidence {
namespace {

template <class Io, class Mac>
void mac_layout(Io& io, Mac& m) {
  io(m.type);
  io(m.subtype);
  io(m.version);
  io(m.reserved_type);
  io(m.reserved1);
  io(m.cpu_svn);
  io(m.tee_tcb_info_hash);
  io(m.tee_info_hash);
  io(m.report_data);
  io(m.reserved2);
  io(m.mac);
}

template <class Io, class Tcb>
void tcb_layout(Io& io, Tcb& t) {
  io(t.valid);
  io(t.tee_tcb_svn);
  io(t.mr_seam);
  io(t.mr_signer_seam);
  io(t.attributes);
  io(t.tee_tcb_svn2);
  io(t.reserved);
}

template <class Io, class Info>
void info_layout(Io& io, Info& i) {
  io(i.attributes);
  io(i.xfam);
  io(i.mr_td);
  io(i.mr_config_id);
  io(i.mr_owner);
  io(i.mr_owner_config);
  for (auto& rtmr : i.rtmr) io(rtmr);
  io(i.servtd_hash);
  io(i.reserved);
}

Error unsupported(std::string_view what, unsigned got) {
  return Error{Errc::evidence_unsupported, "TDREPORT " + std::string{what} + ": got " + std::to_string(got)};
}

}  // namespace

Result<TdReport> parse_td_report(ByteView bytes) {
  if (bytes.size() != kTdReportSize) {
    return Error{Errc::evidence_malformed,
                 "TDREPORT: " + std::to_string(kTdReportSize) + " bytes expected, got " + std::to_string(bytes.size())};
  }
  TdReport report;
  FieldReader in{bytes};
  mac_layout(in, report.mac);
  tcb_layout(in, report.tcb);
  in(report.reserved);
  info_layout(in, report.info);
  CLOISTER_ASSERT(in.at_end());
  if (report.mac.type != kReportTypeTdx) return unsupported("type", report.mac.type);
  if (report.mac.subtype != 0) return unsupported("subtype", report.mac.subtype);
  if (report.mac.version > 1) return unsupported("version", report.mac.version);
  return report;
}

ByteArray<kReportMacSize> encode_report_mac(const ReportMac& mac) {
  FieldWriter out;
  mac_layout(out, mac);
  return to_array<kReportMacSize>(std::move(out).take());
}

ByteArray<kTeeTcbInfoSize> encode_tee_tcb_info(const TeeTcbInfo& tcb) {
  FieldWriter out;
  tcb_layout(out, tcb);
  return to_array<kTeeTcbInfoSize>(std::move(out).take());
}

ByteArray<kTdInfoSize> encode_td_info(const TdInfo& info) {
  FieldWriter out;
  info_layout(out, info);
  return to_array<kTdInfoSize>(std::move(out).take());
}

Bytes encode_td_report(const TdReport& report) {
  codec::Writer out;
  out.raw(encode_report_mac(report.mac));
  out.raw(encode_tee_tcb_info(report.tcb));
  out.raw(report.reserved);
  out.raw(encode_td_info(report.info));
  return std::move(out).take();
}

}  // namespace cloister::evidence
