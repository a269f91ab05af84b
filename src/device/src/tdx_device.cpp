#include "cloister/device/tdx_device.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "cloister/device/tsm_report.hpp"

namespace cloister::device {
namespace {

// include/uapi/linux/tdx-guest.h: 64 bytes of REPORTDATA, then 1024 for the TDREPORT.
constexpr std::size_t kReportSize = 1024;
using ReportRequest = ByteArray<64 + kReportSize>;
constexpr unsigned long kGetReport0 = _IOWR('T', 1, ReportRequest);
// Intel TDX Module 1.5 ABI, REPORTMACSTRUCT.
constexpr std::uint8_t kTypeTdx = 0x81;
constexpr std::size_t kReportData = 128;

Error not_ours(std::string_view where) { return Error{Errc::tee_failure, std::string{where} + ": an answer to another question"}; }

}  // namespace

Result<Bytes> TdxDevice::report(const Digest64& report_data) {
  CLOISTER_TRY(file, KernelFile::open(kernel_, paths_.device, O_RDWR));
  ReportRequest request{};
  std::ranges::copy(report_data, request.begin());
  if (const int error = file.ioctl(kGetReport0, request.data()); error != 0) return kernel_error(paths_.device, error);
  const auto report = ByteView{request}.subspan(64);
  if (report[0] != kTypeTdx || !same_bytes(report.subspan(kReportData, 64), report_data)) return not_ours(kTdxGuest);
  return to_bytes(report);
}

Result<void> TdxDevice::extend_rtmr(unsigned index, const Digest48& digest) {
  if (index > 3) return Error{Errc::invalid_argument, "RTMR: 0 to 3 expected"};
  if (index < 2) return Error{Errc::permission_denied, "RTMR: 0 and 1 are the firmware's and the boot loader's"};
  const auto path = paths_.measurements / ("rtmr" + std::to_string(index) + ":sha384");
  auto file = KernelFile::open(kernel_, path, O_WRONLY);
  if (!file && file.error().code() == Errc::unsupported) {
    return Error{Errc::unsupported, path.string() + ": Linux 6.16 or newer expected, with CONFIG_TSM_MEASUREMENTS"};
  }
  if (!file) return file.error();
  return file->write_once(digest);
}

Result<Quote> TdxDevice::quote(const Digest64& report_data) {
  auto made = TsmReports{kernel_, random_, paths_.reports}.report(report_data);
  if (!made && made.error().code() == Errc::unsupported) {
    return made.error().in("quote (Linux 6.7 or newer expected, with configfs mounted)");
  }
  if (!made) return std::move(made).error();
  if (made->provider != TsmProvider::tdx_guest) return not_ours("configfs-tsm");
  return Quote{.evidence = std::move(made->outblob), .collateral = std::move(made->auxblob)};
}

}  // namespace cloister::device
