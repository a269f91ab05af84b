#pragma once

#include "cloister/lab/tdx.hpp"

/// TDREPORT_STRUCT, 1024 bytes (Intel TDX Module ABI Reference 348551; the MAC structure: Intel SDM volume 3,
/// SEAMREPORT). Integers are little-endian; what is not named is reserved and zero.
///
///   0    REPORTMACSTRUCT, 256: type 0x81, subtype, version, reserved @0; CPUSVN @16; hash of TEE_TCB_INFO @32; hash of
///        TDINFO @80; REPORTDATA @128; MAC @224
///   256  TEE_TCB_INFO, 239: valid @0; TEE_TCB_SVN @8; MRSEAM @24; MRSIGNERSEAM @72; ATTRIBUTES @120; TEE_TCB_SVN2 @128
///   512  TDINFO, 512: ATTRIBUTES @0; XFAM @8; MRTD @16; MRCONFIGID @64; MROWNER @112; MROWNERCONFIG @160; RTMR0..3 @208;
///        SERVTD_HASH @400
namespace cloister::lab::tdx {

/// The parts of a report that a quote repeats, as views into it. `report` has `kTdReportSize` bytes (asserted).
struct ReportFields {
  ByteView report_data;
  ByteView tee_tcb_svn;
  ByteView mr_seam;
  ByteView mr_signer_seam;
  ByteView seam_attributes;
  ByteView tee_tcb_svn2;
  ByteView td_identity;  // ATTRIBUTES to RTMR3: in the order that a quote's body has, too
  ByteView servtd_hash;
};
[[nodiscard]] ReportFields fields_of(ByteView report);

struct TdIdentity {
  const TdParams& params;
  const Digest48& mrtd;
  const measure::Rtmrs& rtmrs;
};
/// A whole report with its MAC.
[[nodiscard]] TdReportBytes make_report(const ModuleInfo& module, const TdIdentity& td, const Digest64& report_data,
                                        const ReportKey& key);

}  // namespace cloister::lab::tdx
