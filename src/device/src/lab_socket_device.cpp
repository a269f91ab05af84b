#include "cloister/device/lab_socket_device.hpp"

#include "cloister/device/tee_wire.hpp"

namespace cloister::device {

LabSocketDevice::LabSocketDevice(process::UniqueFd socket, std::chrono::milliseconds timeout)
    : socket_{std::move(socket), {.bytes = kMaxTeeResponse, .descriptors = 0}}, timeout_{timeout} {}

Result<Bytes> LabSocketDevice::ask(ByteView request) {
  if (!socket_.open()) return Error{Errc::peer_closed, "TEE socket: closed after an earlier failure"};
  const Deadline deadline{std::chrono::steady_clock::now() + timeout_};
  auto sent = socket_.send(request, {}, deadline);
  auto answer = sent ? socket_.receive(deadline) : Result<process::Frame>{sent.error()};
  if (!answer) {
    socket_.close();  // an answer that comes later must not be taken for the next one
    return answer.error().in("TEE socket");
  }
  return std::move(answer->payload);
}

Result<Bytes> LabSocketDevice::report(const Digest64& report_data) {
  CLOISTER_TRY(answer, ask(encode(ReportRequest{report_data})));
  return decode_report_answer(answer);
}

Result<void> LabSocketDevice::extend_rtmr(unsigned index, const Digest48& digest) {
  if (index > 3) return Error{Errc::invalid_argument, "RTMR: 0 to 3 expected"};
  CLOISTER_TRY(answer, ask(encode(ExtendRequest{.index = static_cast<std::uint8_t>(index), .digest = digest})));
  return decode_extend_answer(answer);
}

Result<Quote> LabSocketDevice::quote(const Digest64& report_data) {
  CLOISTER_TRY(answer, ask(encode(QuoteRequest{report_data})));
  return decode_quote_answer(answer);
}

}  // namespace cloister::device
