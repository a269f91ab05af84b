#pragma once

#include <cstdint>
#include <variant>

#include "cloister/core/bytes.hpp"
#include "cloister/core/result.hpp"
#include "cloister/device/tee_device.hpp"

/// What goes over the TEE socket (docs/protocol/tee-socket.md), both ends.
namespace cloister::device {

inline constexpr std::size_t kMaxTeeRequest = 256;        // bytes of a request's frame
inline constexpr std::size_t kMaxTeeResponse = 1U << 20;  // and of an answer's

struct ReportRequest {
  Digest64 report_data{};
  friend bool operator==(const ReportRequest&, const ReportRequest&) = default;
};
struct ExtendRequest {
  std::uint8_t index = 0;  // 0 to 3 on the wire; which of them may be extended is the platform's to say
  Digest48 digest{};
  friend bool operator==(const ExtendRequest&, const ExtendRequest&) = default;
};
struct QuoteRequest {
  Digest64 report_data{};
  friend bool operator==(const QuoteRequest&, const QuoteRequest&) = default;
};
using TeeRequest = std::variant<ReportRequest, ExtendRequest, QuoteRequest>;

[[nodiscard]] Bytes encode(const TeeRequest& request);
/// `unsupported` for an operation that is not known; the codec's errors otherwise.
[[nodiscard]] Result<TeeRequest> decode_tee_request(ByteView bytes);

[[nodiscard]] Bytes encode_extend_answer();
[[nodiscard]] Bytes encode_report_answer(ByteView report);
[[nodiscard]] Bytes encode_quote_answer(const Quote& quote);
[[nodiscard]] Bytes encode_tee_error(const Error& error);

/// These return the error that the platform answered with, too.
[[nodiscard]] Result<void> decode_extend_answer(ByteView bytes);
[[nodiscard]] Result<Bytes> decode_report_answer(ByteView bytes);
[[nodiscard]] Result<Quote> decode_quote_answer(ByteView bytes);

}  // namespace cloister::device
