#include "cloister/lab_snp/guest.hpp"

#include <algorithm>
#include <string>

namespace cloister::lab_snp {
namespace {

Error closed(std::string why) { return Error{Errc::unavailable, "guest messages: " + std::move(why)}; }

}  // namespace

std::optional<GuestDriver> GuestDriver::from_secrets(const Page& secrets, unsigned vmpck) {
  auto parsed = parse_secrets_page(secrets);
  if (!parsed || vmpck >= kVmpcks) return std::nullopt;
  return GuestDriver{std::move(parsed->vmpcks[vmpck]), static_cast<std::uint8_t>(vmpck)};
}

Result<crypto::SecretBytes> GuestDriver::exchange(MessageType type, std::uint8_t version, ByteView payload, MessageType answer,
                                                  const Carrier& carrier) {
  if (!usable_) return closed("this VMPCK is not used any more");
  CLOISTER_TRY(number, messages_.next_request());
  usable_ = false;  // until a good answer is here
  const auto sealed = seal_message(key_, {.type = type, .version = version, .vmpck = vmpck_, .sequence = number,
                                          .payload = crypto::SecretBytes::copy_of(payload)});
  Page request{};
  std::ranges::copy(sealed, request.begin());
  Page response{};
  if (!carrier(request, response)) return closed("the host brought no answer");
  auto opened = open_message(key_, message_in(response));
  if (!opened) return closed("the answer does not open: " + opened.error().detail());
  CLOISTER_TRY(expected, messages_.accept_request(number));
  if (opened->sequence != expected || opened->type != answer || opened->vmpck != vmpck_) {
    return Error{Errc::conflict, "guest messages: an answer to another request"};
  }
  usable_ = true;
  return std::move(opened->payload);
}

Result<Answered<ByteArray<evidence::kSnpReportSize>>> GuestDriver::report(const ReportRequest& request, const Carrier& carrier) {
  CLOISTER_TRY(payload, exchange(MessageType::report_request, 1, encode_report_request(request), MessageType::report_response, carrier));
  if (payload.size() != kReportResponseSize) return Error{Errc::malformed, "report response: " + std::to_string(payload.size()) + " bytes"};
  Answered<ByteArray<evidence::kSnpReportSize>> out{.status = *response_status(payload.reveal()), .value = {}};
  if (out.status == Status::success) out.value = to_array<evidence::kSnpReportSize>(payload.reveal().subspan(kResponseBody));
  return out;
}

Result<Answered<crypto::Secret<32>>> GuestDriver::derived_key(const KeyRequest& request, const Carrier& carrier) {
  CLOISTER_TRY(payload, exchange(MessageType::key_request, request.mitigations ? 2 : 1, encode_key_request(request),
                                 MessageType::key_response, carrier));
  if (payload.size() != kKeyResponseSize) return Error{Errc::malformed, "key response: " + std::to_string(payload.size()) + " bytes"};
  Answered<crypto::Secret<32>> out{.status = *response_status(payload.reveal()), .value = {}};
  if (out.status == Status::success) out.value = crypto::Secret<32>::copy_of(payload.reveal().subspan(kResponseBody, 32));
  return out;
}

}  // namespace cloister::lab_snp
