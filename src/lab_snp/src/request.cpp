#include "cloister/lab_snp/request.hpp"

#include <algorithm>

#include "cloister/codec/cursor.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::size_t kKeyRequestSizes[] = {0x20, 0x28};  // of versions 1 and 2

std::optional<KeySelect> key_select(std::uint32_t bits) {
  if (bits > static_cast<std::uint32_t>(KeySelect::vlek)) return std::nullopt;
  return static_cast<KeySelect>(bits);
}

}  // namespace

Bytes encode_report_request(const ReportRequest& request) {
  codec::Writer out;
  out.raw(request.report_data);
  out.u32le(request.vmpl);
  out.u32le(static_cast<std::uint32_t>(request.key));
  out.zeros(kReportRequestSize - out.size());
  return std::move(out).take();
}

std::optional<ReportRequest> parse_report_request(ByteView payload) {
  if (payload.size() != kReportRequestSize) return std::nullopt;
  codec::Reader in{payload};
  ReportRequest out;
  out.report_data = in.array<64>().value();
  out.vmpl = in.u32le().value();
  const auto key = key_select(in.u32le().value());
  if (!key || !all_zero(in.rest())) return std::nullopt;
  out.key = *key;
  return out;
}

Bytes encode_key_request(const KeyRequest& request) {
  codec::Writer out;
  out.u32le(static_cast<std::uint32_t>(request.root) | static_cast<std::uint32_t>(request.key) << 1);
  out.zeros(4);
  out.u64le(request.fields);
  out.u32le(request.vmpl);
  out.u32le(request.guest_svn);
  out.raw(request.tcb);
  if (request.mitigations) out.u64le(*request.mitigations);
  return std::move(out).take();
}

std::optional<KeyRequest> parse_key_request(std::uint8_t version, ByteView payload) {
  if (version == 0 || version > std::size(kKeyRequestSizes) || payload.size() != kKeyRequestSizes[version - 1]) return std::nullopt;
  codec::Reader in{payload};
  KeyRequest out;
  const auto select = in.u32le().value();
  const auto reserved = in.u32le().value();
  const auto key = key_select(select >> 1);
  if (!key || reserved != 0) return std::nullopt;
  out.root = static_cast<RootKey>(select & 1);
  out.key = *key;
  out.fields = in.u64le().value();
  out.vmpl = in.u32le().value();
  out.guest_svn = in.u32le().value();
  out.tcb = in.array<8>().value();
  if (version == 2) out.mitigations = in.u64le().value();
  return out;
}

Bytes encode_report_response(Status status, ByteView report) {
  codec::Writer out;
  out.u32le(static_cast<std::uint32_t>(status));
  out.u32le(evidence::kSnpReportSize);
  out.zeros(kResponseBody - out.size());
  out.raw(report);
  out.zeros(kReportResponseSize - out.size());
  return std::move(out).take();
}

crypto::SecretBytes encode_key_response(Status status, const crypto::Secret<32>* key) {
  crypto::SecretBytes out{kKeyResponseSize};
  out.writable()[0] = static_cast<std::uint8_t>(status);
  if (key != nullptr) std::ranges::copy(key->reveal(), out.writable().subspan(kResponseBody).begin());
  return out;
}

std::optional<Status> response_status(ByteView payload) {
  codec::Reader in{payload};
  const auto status = in.u32le();
  if (!status) return std::nullopt;
  return static_cast<Status>(*status);
}

}  // namespace cloister::lab_snp
