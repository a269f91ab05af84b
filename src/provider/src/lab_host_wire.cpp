#include "cloister/provider/lab_host_wire.hpp"

#include "cloister/codec/cbor.hpp"
#include "cloister/core/ids.hpp"

namespace cloister::provider {
namespace {

namespace cbor = codec::cbor;

constexpr std::string_view kDomain = "cloister/lab-host/1";
constexpr std::string_view kOk = "ok";
constexpr std::string_view kError = "error";
constexpr std::string_view kExit = "exit";
constexpr std::size_t kMaxTds = 65'536;
constexpr std::uint64_t kMaxMode = 0777;
constexpr std::uint64_t kMaxMemoryMib = 1U << 20;

cbor::Writer message(std::size_t count, std::string_view kind) {
  cbor::Writer out;
  out.array(count).text(kDomain).text(kind);
  return out;
}

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
  if (kind != kOk || count != values + 2) return Error{Errc::malformed, "lab host answer: not of this request"};
  return {};
}

std::string read_id(cbor::Reader& in) {
  std::string id{in.text()};
  if (!in.failed() && !valid_id(id)) in.fail(Errc::malformed, "TD id: 1 to 64 characters of [a-z0-9-_.] expected");
  return id;
}

std::uint32_t read_bounded(cbor::Reader& in, std::string_view name, std::uint64_t least, std::uint64_t most) {
  const auto value = in.uint();
  if (!in.failed() && (value < least || value > most)) {
    in.fail(Errc::invalid_argument, std::string{name} + ": " + std::to_string(least) + " to " + std::to_string(most) +
                                        " expected, got " + std::to_string(value));
  }
  return static_cast<std::uint32_t>(in.failed() ? 0 : value);
}

Result<HostRequest> read_start(cbor::Reader& in) {
  StartTd start;
  for (auto left = in.array_up_to(kMaxTdFiles); left > 0 && !in.failed(); --left) {
    in.array(2);
    std::string path{in.text()};
    const auto mode = read_bounded(in, "mode", 0, kMaxMode);
    start.files.push_back({.path = std::move(path), .mode = mode});
  }
  start.configuration = to_bytes(in.bytes());
  if (start.configuration.size() > kMaxConfiguration) in.fail(Errc::limit_exceeded, "configuration: 64 KiB at most");
  start.memory_mib = read_bounded(in, "memory_mib", 1, kMaxMemoryMib);
  for (auto left = in.array_up_to(kMaxTdBlobs); left > 0 && !in.failed(); --left) {
    start.blobs.push_back(in.bytes<32>());
  }
  CLOISTER_CHECK(in.finish());
  if (start.files.empty()) return Error{Errc::invalid_argument, "TD image: at least one file expected"};
  return HostRequest{std::move(start)};
}

struct EncodeRequest {
  Bytes operator()(const StartTd& start) const {
    auto out = message(6, "start-td");
    out.array(start.files.size());
    for (const auto& file : start.files) out.array(2).text(file.path).uint(file.mode);
    out.bytes(start.configuration).uint(start.memory_mib).array(start.blobs.size());
    for (const auto& digest : start.blobs) out.bytes(digest);
    return std::move(out).take();
  }
  Bytes operator()(const StopTd& stop) const { return std::move(message(3, "stop-td").text(stop.id)).take(); }
  Bytes operator()(const ListTds&) const { return message(2, "list-tds").take(); }
  Bytes operator()(const GetCollateral&) const { return message(2, "collateral").take(); }
};

}  // namespace

Bytes encode(const HostRequest& request) { return std::visit(EncodeRequest{}, request); }

Result<HostRequest> decode_host_request(ByteView bytes) {
  cbor::Reader in{bytes};
  const auto count = in.array_up_to(6);
  in.domain(kDomain);
  const auto operation = in.text();
  if (in.failed()) return in.finish().error();
  if (operation == "start-td" && count == 6) return read_start(in);
  HostRequest request;
  if (operation == "stop-td" && count == 3) {
    request = StopTd{read_id(in)};
  } else if (operation == "list-tds" && count == 2) {
    request = ListTds{};
  } else if (operation == "collateral" && count == 2) {
    request = GetCollateral{};
  } else {
    return Error{Errc::unsupported, "lab host request: not an operation with that many members"};
  }
  CLOISTER_CHECK(in.finish());
  return request;
}

Bytes encode_start_answer(const TdStarted& started) {
  return std::move(message(4, kOk).text(started.id).bytes(started.mrtd)).take();
}
Bytes encode_stop_answer() { return message(2, kOk).take(); }

Bytes encode_list_answer(const std::vector<std::string>& ids) {
  auto out = message(3, kOk);
  out.array(ids.size());
  for (const auto& id : ids) out.text(id);
  return std::move(out).take();
}

Bytes encode_collateral_answer(const LabCollateral& collateral) {
  return std::move(message(4, kOk).text(collateral.root_pem).text(collateral.collateral_json)).take();
}

Bytes encode_host_error(const Error& error) {
  return std::move(message(4, kError).text(to_string(error.code())).text(error.detail())).take();
}

Bytes encode_exit(const CvmExit& exit) {
  auto out = message(5, kExit);
  out.uint(static_cast<std::uint64_t>(exit.status.code)).uint(static_cast<std::uint64_t>(exit.status.signal));
  out.bytes(as_bytes(exit.console));
  return std::move(out).take();
}

Result<TdStarted> decode_start_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 2));
  TdStarted started{.id = read_id(in), .mrtd = in.bytes<48>()};
  CLOISTER_CHECK(in.finish());
  return started;
}

Result<void> decode_stop_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 0));
  return in.finish();
}

Result<std::vector<std::string>> decode_list_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 1));
  std::vector<std::string> ids;
  for (auto left = in.array_up_to(kMaxTds); left > 0 && !in.failed(); --left) ids.push_back(read_id(in));
  CLOISTER_CHECK(in.finish());
  return ids;
}

Result<LabCollateral> decode_collateral_answer(ByteView bytes) {
  cbor::Reader in{bytes};
  CLOISTER_CHECK(open_answer(in, 2));
  LabCollateral out;
  out.root_pem = in.text();
  out.collateral_json = in.text();
  CLOISTER_CHECK(in.finish());
  return out;
}

Result<CvmExit> decode_exit(ByteView bytes) {
  cbor::Reader in{bytes};
  in.array(5);
  in.domain(kDomain);
  in.domain(kExit);
  CvmExit exit;
  exit.status.code = static_cast<int>(read_bounded(in, "exit code", 0, 255));
  exit.status.signal = static_cast<int>(read_bounded(in, "signal", 0, 255));
  exit.console = as_text(in.bytes());
  CLOISTER_CHECK(in.finish());
  return exit;
}

}  // namespace cloister::provider
