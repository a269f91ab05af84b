#include "cloister/device/snp_device.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "cloister/codec/cursor.hpp"
#include "cloister/device/tsm_report.hpp"

namespace cloister::device {
namespace {

// include/uapi/linux/sev-guest.h, laid out by hand: sizes are part of the ioctl's number.
constexpr std::size_t kCallSize = 32;             // snp_guest_request_ioctl
constexpr std::size_t kCallErrors = 24;           // u32 firmware's, u32 host's
constexpr std::size_t kReportRequest = 96;        // snp_report_req
constexpr std::size_t kExtendedRequest = 112;     // snp_ext_report_req
constexpr std::size_t kCertificatesLength = 104;  // in it
constexpr std::size_t kKeyRequest = 32;           // snp_derived_key_req
constexpr std::size_t kReportResponse = 4000;     // snp_report_resp
constexpr std::size_t kKeyResponse = 64;          // snp_derived_key_resp
constexpr unsigned long kGetReport = _IOWR('S', 0, ByteArray<kCallSize>);
constexpr unsigned long kGetDerivedKey = _IOWR('S', 1, ByteArray<kCallSize>);
constexpr unsigned long kGetExtendedReport = _IOWR('S', 2, ByteArray<kCallSize>);
constexpr std::uint32_t kHostInvalidLength = 1;
constexpr std::uint32_t kHostBusy = 2;

// What the kernel takes at most, in whole pages.
constexpr std::size_t kCertificates = 16384;
constexpr std::size_t kReportSize = 1184;
constexpr std::size_t kReportData = 0x50;
constexpr std::size_t kTableEntry = 24;
constexpr std::size_t kMaxTableEntries = 64;
constexpr std::uint64_t kKnownFields = 63;

std::uint64_t address(const std::uint8_t* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

template <std::size_t N>
ByteArray<N> laid_out(codec::Writer writer) {
  return to_array<N>(writer.bytes());
}

/// Of a message of the firmware's: 0, or why not (AMD 56860, tables of MSG_REPORT_RSP and MSG_KEY_RSP).
Result<void> check_status(std::uint32_t status) {
  if (status == 0) return {};
  if (status == 0x16) return Error{Errc::tee_failure, "SEV-SNP firmware: invalid parameters (0x16)"};
  if (status == 0x27) return Error{Errc::tee_failure, "SEV-SNP firmware: that key is not there (0x27)"};
  return Error{Errc::tee_failure, "SEV-SNP firmware: status " + std::to_string(status)};
}

struct Failure {
  int error = 0;
  std::uint32_t firmware = 0;
  std::uint32_t host = 0;
};

/// One request of message version 1. Its buffers are this process's.
Failure call(const KernelFile& file, unsigned long number, const std::uint8_t* request, std::uint8_t* response) {
  codec::Writer out;
  out.u8(1);
  out.zeros(7);
  out.u64le(address(request));
  out.u64le(address(response));
  out.u64le(0);
  auto argument = laid_out<kCallSize>(std::move(out));
  Failure failure;
  failure.error = file.ioctl(number, argument.data());
  codec::Reader in{ByteView{argument}.subspan(kCallErrors)};
  failure.firmware = in.u32le().value_or(0);
  failure.host = in.u32le().value_or(0);
  return failure;
}

Result<void> check(const std::filesystem::path& path, const Failure& failure) {
  if (failure.error == 0 && failure.firmware == 0 && failure.host == 0) return {};
  if (failure.host == kHostBusy) return Error{Errc::unavailable, path.string() + ": the host is busy"};
  if (failure.firmware != 0 || failure.host != 0) {
    return Error{Errc::tee_failure, path.string() + ": firmware error " + std::to_string(failure.firmware) + ", host error " +
                                        std::to_string(failure.host)};
  }
  return kernel_error(path, failure.error);
}

codec::Writer report_request(const Digest64& report_data, std::uint32_t vmpl) {
  codec::Writer out;
  out.raw(report_data);
  out.u32le(vmpl);
  out.zeros(28);
  return out;
}

Result<Bytes> ours(Result<Bytes> report, const Digest64& report_data) {
  if (report && !same_bytes(ByteView{*report}.subspan(kReportData, 64), report_data)) {
    return Error{Errc::tee_failure, "SEV-SNP report: an answer to another question"};
  }
  return report;
}

Error only_sev_guest() { return Error{Errc::unsupported, "/dev/sev-guest is needed for this"}; }

}  // namespace

Result<Bytes> decode_snp_report_response(ByteView bytes) {
  codec::Reader in{bytes};
  const auto status = in.u32le();
  const auto size = in.u32le();
  if (!status || !size || !in.take(24)) return Error{Errc::truncated, "MSG_REPORT_RSP: its head expected"};
  CLOISTER_CHECK(check_status(*status));
  if (*size != kReportSize) {
    return Error{Errc::tee_failure, "MSG_REPORT_RSP: a report of 1184 bytes expected, got " + std::to_string(*size)};
  }
  const auto report = in.take(kReportSize);
  if (!report) return Error{Errc::truncated, "MSG_REPORT_RSP: a report of 1184 bytes expected"};
  return to_bytes(*report);
}

Result<std::size_t> snp_certificate_table_size(ByteView buffer) {
  const auto broken = [](std::string_view why) { return Error{Errc::tee_failure, "certificate table: " + std::string{why}}; };
  codec::Reader in{buffer};
  std::size_t end = 0;
  for (std::size_t count = 0;; ++count) {
    if (count > kMaxTableEntries) return broken("64 entries at most expected");
    const auto guid = in.array<16>();
    const auto offset = in.u32le();
    const auto length = in.u32le();
    if (!guid || !offset || !length) return broken("it ends before its last entry");
    if (all_zero(*guid)) {
      if (*offset != 0 || *length != 0) return broken("the last entry is not zero");
      return count == 0 ? 0 : std::max(end, (count + 1) * kTableEntry);
    }
    if (*offset > buffer.size() || *length > buffer.size() - *offset) return broken("an entry points outside of it");
    end = std::max<std::size_t>(end, std::size_t{*offset} + *length);
  }
}

Result<Bytes> SnpDevice::report(const Digest64& /*report_data*/) {
  return Error{Errc::unsupported, "SEV-SNP has no report for this machine alone"};
}

Result<void> SnpDevice::extend_rtmr(unsigned /*index*/, const Digest48& /*digest*/) {
  return Error{Errc::unsupported, "SEV-SNP has no measurement registers that programs extend"};
}

Result<Bytes> SnpDevice::attestation_report(const Digest64& report_data, std::uint32_t vmpl) {
  if (way_ != Way::sev_guest) return only_sev_guest();
  if (vmpl > 3) return Error{Errc::invalid_argument, "VMPL: 0 to 3 expected"};
  CLOISTER_TRY(file, KernelFile::open(kernel_, path_, O_RDWR));
  const auto request = laid_out<kReportRequest>(report_request(report_data, vmpl));
  ByteArray<kReportResponse> response{};
  CLOISTER_CHECK(check(path_, call(file, kGetReport, request.data(), response.data())));
  return ours(decode_snp_report_response(response), report_data);
}

Result<Quote> SnpDevice::quote(const Digest64& report_data) {
  if (way_ == Way::configfs_tsm) {
    CLOISTER_TRY(made, TsmReports(kernel_, random_, path_).report(report_data));
    if (made.provider != TsmProvider::sev_guest) return Error{Errc::tee_failure, "configfs-tsm: provider sev_guest expected"};
    CLOISTER_TRY(report, ours(std::move(made.outblob), report_data));
    return Quote{.evidence = std::move(report), .collateral = std::move(made.auxblob)};
  }
  CLOISTER_TRY(file, KernelFile::open(kernel_, path_, O_RDWR));
  Bytes certificates(kCertificates);
  auto out = report_request(report_data, 0);
  out.u64le(address(certificates.data()));
  out.u32le(static_cast<std::uint32_t>(certificates.size()));
  out.zeros(4);
  auto request = laid_out<kExtendedRequest>(std::move(out));  // the kernel answers in it, too
  ByteArray<kReportResponse> response{};
  const auto failure = call(file, kGetExtendedReport, request.data(), response.data());
  if (failure.host == kHostInvalidLength) {
    codec::Reader needed{ByteView{request}.subspan(kCertificatesLength)};
    return Error{Errc::tee_failure, path_.string() + ": the host's certificates take " +
                                        std::to_string(needed.u32le().value_or(0)) + " bytes, more than the kernel hands on"};
  }
  CLOISTER_CHECK(check(path_, failure));
  CLOISTER_TRY(report, ours(decode_snp_report_response(response), report_data));
  CLOISTER_TRY(size, snp_certificate_table_size(certificates));
  certificates.resize(size);
  Quote quote{.evidence = std::move(report), .collateral = {}};
  if (size > 0) quote.collateral = std::move(certificates);
  return quote;
}

Result<crypto::Secret<32>> SnpDevice::derived_key(const SnpKeyRequest& wanted) {
  if (way_ != Way::sev_guest) return only_sev_guest();
  if (wanted.vmpl > 3) return Error{Errc::invalid_argument, "VMPL: 0 to 3 expected"};
  if ((wanted.fields & ~kKnownFields) != 0) return Error{Errc::invalid_argument, "GUEST_FIELD_SELECT: a bit that is not known"};
  CLOISTER_TRY(file, KernelFile::open(kernel_, path_, O_RDWR));
  codec::Writer out;
  out.u32le(wanted.from_vmrk ? 1 : 0);
  out.u32le(0);
  out.u64le(wanted.fields);
  out.u32le(wanted.vmpl);
  out.u32le(wanted.guest_svn);
  out.u64le(wanted.tcb);
  const auto request = laid_out<kKeyRequest>(std::move(out));
  crypto::SecretBytes response{kKeyResponse};
  CLOISTER_CHECK(check(path_, call(file, kGetDerivedKey, request.data(), response.writable().data())));
  codec::Reader in{response.reveal()};
  CLOISTER_CHECK(check_status(in.u32le().value_or(0xFFFF'FFFF)));
  const auto key = response.reveal().subspan(32, 32);
  if (all_zero(key)) return Error{Errc::tee_failure, "MSG_KEY_RSP: a key of zeros"};
  return crypto::Secret<32>::copy_of(key);
}

}  // namespace cloister::device
