#pragma once

#include "cloister/lab/tdx_module.hpp"

namespace cloister::lab::tdx {

/// Of which module a report speaks.
struct Modules {
  const ModuleInfo& launched_by;
  const ModuleInfo& running;
};
/// What a report says of the TD itself.
struct TdIdentity {
  const TdParams& params;
  const Digest48& mrtd;
  const measure::Rtmrs& rtmrs;
  const Digest48& servtd_hash;
  bool has_service_td;
};
/// TDREPORT_STRUCT with its MAC: each hash in REPORTMACSTRUCT ties one of the other parts to the MAC.
[[nodiscard]] TdReportBytes make_report(const Modules& modules, const TdIdentity& td, const Digest64& report_data,
                                        const ReportKey& key);
/// What a service TD is known by (SERVTD_INFO_HASH): SHA-384 of its TDINFO, without the fields that the attributes name.
[[nodiscard]] Digest48 service_td_hash(const TdIdentity& td, ServtdAttributes attributes);

}  // namespace cloister::lab::tdx
