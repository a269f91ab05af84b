#include "cloister/device/tee_wire.hpp"

#include "cloister/codec/cbor.hpp"

namespace cloister::device {
namespace {

namespace cbor = codec::cbor;

constexpr std::string_view kDomain = "cloister/tee/1";
constexpr std::string_view kOk = "ok";
constexpr std::string_view kError = "error";

cbor::Writer message(std::size_t count, std::string_view kind) {
  cbor::Writer out;
  out.array(count).text(kDomain).text(kind);
  return out;
}

/// The error that an answer carries; a code that is not ours becomes `internal`.
Error carried_error(cbor::Reader& in) {
  const std::string code{in.text()};
  const std::string detail{in.text()};
  if (auto finished = in.finish(); !finished) return finished.error();
  return Error{errc_from_string(code).value_or(Errc::internal), detail};
}

/// Reads the head of an answer with `values` members after "ok".
Result<void> open_answer(cbor::Reader& in, std::size_t values) {
  const auto count = in.array_up_to(4);
  in.domain(kDomain);
  const auto kind = in.text();
  if (in.failed()) return in.finish();
  if (kind == kError && count == 4) return carried_error(in);
  if (kind != kOk || count != values + 2) return Error{Errc::malformed, "TEE answer: not of this request"};
  return {};
}

}  // namespace

Bytes encode(const TeeRequest& request) {
  struct Encode {
    Bytes operator()(const ReportRequest& r) const { return std::move(message(3, "report").bytes(r.report_data)).take(); }
    Bytes operator()(const ExtendRequest& r) const { return std::move(message(4, "extend").uint(r.index).bytes(r.digest)).take(); }
    Bytes operator()(const QuoteRequest& r) const { return std::move(message(3, "quote").bytes(r.report_data)).take(); }
  };
  return std::visit(Encode{}, request);
}

Result<TeeRequest> decode_tee_request(ByteView bytes) {
  cbor::Reader in{bytes};
  const auto count = in.array_up_to(4);
  in.domain(kDomain);
  const auto operation = in.text();
  if (in.failed()) return in.finish().error();
  if (operation == "report" && count == 3) {
    const ReportRequest request{in.bytes<64>()};
    CLOISTER_CHECK(in.finish());
    return TeeRequest{request};
  }
  if (operation == "quote" && count == 3) {
    const QuoteRequest request{in.bytes<64>()};
    CLOISTER_CHECK(in.finish());
    return TeeRequest{request};
  }
  if (operation == "extend" && count == 4) {
    const auto index = in.uint();
    const auto digest = in.bytes<48>();
    CLOISTER_CHECK(in.finish());
    if (index > 3) return Error{Errc::invalid_argument, "RTMR: 0 to 3 expected, got " + std::to_string(index)};
    return TeeRequest{ExtendRequest{.index = static_cast<std::uint8_t>(index), .digest = digest}};
  }
  return Error{Errc::unsupported, "TEE request: not an operation with that many members"};
}

Bytes encode_extend_answer() { return message(2, kOk).take(); }
Bytes encode_report_answer(ByteView report) { return std::move(message(3, kOk).bytes(report)).take(); }

Bytes encode_quote_answer(const Quote& quote) {
  auto out = message(4, kOk);
  out.bytes(quote.evidence);
  if (quote.collateral) {
    out.bytes(*quote.collateral);
  } else {
    out.null();
  }
  return std::move(out).take();
}

Bytes encode_tee_error(const Error& error) {
  return std::move(message(4, kError).text(to_string(error.code())).text(error.detail())).take();
}

Result<void> decode_extend_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 0));
  return in.finish();
}

Result<Bytes> decode_report_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 1));
  auto report = to_bytes(in.bytes());
  CLOISTER_CHECK(in.finish());
  return report;
}

Result<Quote> decode_quote_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 2));
  Quote quote{.evidence = to_bytes(in.bytes()), .collateral = {}};
  if (!in.take_null()) quote.collateral = to_bytes(in.bytes());
  CLOISTER_CHECK(in.finish());
  return quote;
}

}  // namespace cloister::device
