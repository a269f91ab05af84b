#pragma once

#include "cloister/lab/tdx.hpp"

namespace cloister::lab::tdx {

/// What a report says of the TD itself.
struct TdIdentity {
  const TdParams& params;
  const Digest48& mrtd;
  const measure::Rtmrs& rtmrs;
};
/// TDREPORT_STRUCT with its MAC: each hash in REPORTMACSTRUCT ties one of the other parts to the MAC.
[[nodiscard]] TdReportBytes make_report(const ModuleInfo& module, const TdIdentity& td, const Digest64& report_data,
                                        const ReportKey& key);

}  // namespace cloister::lab::tdx
