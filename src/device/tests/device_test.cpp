#include <gmock/gmock.h>

#include <thread>

#include "cloister/codec/text.hpp"
#include "cloister/device/boot.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/device/tee_wire.hpp"
#include "support/support.hpp"

namespace cloister::device {
namespace {

Digest64 data64() {
  Digest64 out;
  out.fill(0x5A);
  return out;
}
Digest48 digest48() {
  Digest48 out;
  out.fill(0xC3);
  return out;
}

TEST(TeeWire, RequestsComeBackAsTheyWere) {
  const std::array<TeeRequest, 3> requests{ReportRequest{data64()}, ExtendRequest{.index = 3, .digest = digest48()},
                                           QuoteRequest{data64()}};
  for (const auto& request : requests) {
    const auto decoded = decode_tee_request(encode(request));
    ASSERT_TRUE(decoded.ok()) << decoded.error().text();
    EXPECT_EQ(*decoded, request);
    EXPECT_LE(encode(request).size(), kMaxTeeRequest);
  }
}

TEST(TeeWire, RequestHasTheSpecifiedBytes) {
  EXPECT_EQ(codec::to_hex(encode(ExtendRequest{.index = 3, .digest = {}})),
            "846e636c6f69737465722f7465652f3166657874656e64035830" + std::string(96, '0'));
}

TEST(TeeWire, RefusesEachBrokenRequest) {
  const auto good = encode(ExtendRequest{.index = 3, .digest = digest48()});
  auto trailing = good;
  trailing.push_back(0);
  EXPECT_EQ(decode_tee_request(trailing).error().code(), Errc::trailing_bytes);
  EXPECT_FALSE(decode_tee_request(ByteView{good}.first(good.size() - 1)).ok());
  auto index = good;
  index[23] = 4;  // after head, domain and "extend"
  EXPECT_EQ(decode_tee_request(index).error().code(), Errc::invalid_argument);
  auto domain = good;
  domain[15] = '2';
  EXPECT_FALSE(decode_tee_request(domain).ok());
  auto operation = good;
  operation[17] = 'x';
  EXPECT_EQ(decode_tee_request(operation).error().code(), Errc::unsupported);
  auto count = good;
  count[0] = 0x83;
  EXPECT_EQ(decode_tee_request(count).error().code(), Errc::unsupported);
  EXPECT_FALSE(decode_tee_request({}).ok());
}

TEST(TeeWire, AnswersComeBackAsTheyWere) {
  const Quote with{.evidence = {1, 2, 3}, .collateral = Bytes{4}};
  EXPECT_EQ(decode_quote_answer(encode_quote_answer(with))->collateral, Bytes{4});
  EXPECT_EQ(decode_quote_answer(encode_quote_answer({.evidence = {9}, .collateral = {}}))->evidence, Bytes{9});
  EXPECT_EQ(*decode_report_answer(encode_report_answer(Bytes{7})), Bytes{7});
  EXPECT_TRUE(decode_extend_answer(encode_extend_answer()).ok());
}

TEST(TeeWire, ErrorsKeepTheirCode) {
  const auto bytes = encode_tee_error(Error{Errc::permission_denied, "RTMR 0"});
  EXPECT_EQ(decode_extend_answer(bytes).error().code(), Errc::permission_denied);
  EXPECT_EQ(decode_quote_answer(bytes).error().detail(), "RTMR 0");
  EXPECT_EQ(decode_report_answer(encode_extend_answer()).error().code(), Errc::malformed);
}

/// A platform's end that answers each request with the next of the given frames.
class Platform {
 public:
  explicit Platform(process::UniqueFd socket, std::vector<Bytes> answers)
      : thread_{[this, fd = std::move(socket), answers = std::move(answers)]() mutable {
          process::FrameSocket frames{std::move(fd), {.bytes = kMaxTeeRequest, .descriptors = 0}};
          const Deadline deadline{std::chrono::steady_clock::now() + std::chrono::seconds{10}};
          for (const auto& answer : answers) {
            auto request = frames.receive(deadline);
            if (!request || !frames.send(answer, {}, deadline)) return;
            ++served_;
          }
        }} {}
  ~Platform() { thread_.join(); }
  int join() {
    thread_.join();
    thread_ = std::thread{[] {}};
    return served_;
  }

 private:
  int served_ = 0;
  std::thread thread_;
};

TEST(LabSocketDevice, AsksAndReads) {
  auto pair = process::stream_pair();
  Platform platform{std::move(pair->second),
                    {encode_extend_answer(), encode_quote_answer({.evidence = {1}, .collateral = {}}),
                     encode_report_answer(Bytes{2}), encode_tee_error(Error{Errc::permission_denied, "no"})}};
  LabSocketDevice device{std::move(pair->first)};
  EXPECT_TRUE(device.extend_rtmr(3, digest48()).ok());
  EXPECT_EQ(device.quote(data64())->evidence, Bytes{1});
  EXPECT_EQ(*device.report(data64()), Bytes{2});
  EXPECT_EQ(device.extend_rtmr(0, digest48()).error().code(), Errc::permission_denied);
  EXPECT_EQ(device.extend_rtmr(4, digest48()).error().code(), Errc::invalid_argument);
  EXPECT_EQ(platform.join(), 4);
}

TEST(LabSocketDevice, TakesNoAnswerAfterItsDeadline) {
  auto pair = process::stream_pair();
  LabSocketDevice device{std::move(pair->first), std::chrono::milliseconds{1}};
  EXPECT_EQ(device.quote(data64()).error().code(), Errc::deadline_exceeded);
  process::FrameSocket late{std::move(pair->second), {}};
  EXPECT_EQ(device.report(data64()).error().code(), Errc::peer_closed);
}

TEST(LabSocketDevice, SaysThatThePlatformIsGone) {
  auto pair = process::stream_pair();
  LabSocketDevice device{std::move(pair->first)};
  pair->second.reset();
  EXPECT_EQ(device.quote(data64()).error().code(), Errc::peer_closed);
}

Boot boot() { return {.configuration = {1, 2}, .blobs = {{Digest32{1}, 6}, {Digest32{2}, 7}}}; }

TEST(Boot, ComesBackAsItWas) {
  auto memfd = process::sealed_memfd("boot", encode(boot()));
  ASSERT_TRUE(memfd.ok());
  const auto read = read_boot(std::move(*memfd));
  ASSERT_TRUE(read.ok()) << read.error().text();
  EXPECT_EQ(*read, boot());
}

TEST(Boot, RefusesDescriptorsThatAreNoBlobs) {
  auto broken = boot();
  broken.blobs[Digest32{2}] = 6;
  EXPECT_EQ(decode_boot(encode(broken)).error().code(), Errc::malformed);
  broken.blobs[Digest32{2}] = kStreamDescriptor;
  EXPECT_EQ(decode_boot(encode(broken)).error().code(), Errc::malformed);
  broken.blobs[Digest32{2}] = 6 + static_cast<int>(kMaxBootBlobs);
  EXPECT_EQ(decode_boot(encode(broken)).error().code(), Errc::malformed);
}

TEST(Boot, RefusesBlobsThatAreRepeatedOrOutOfOrder) {
  auto bytes = encode(boot());
  const auto second = bytes.size() - 33;  // the second digest: 32 bytes, then its descriptor
  ASSERT_EQ(bytes[second], 2);
  bytes[second] = 1;
  EXPECT_EQ(decode_boot(bytes).error().code(), Errc::not_canonical);
  bytes[second] = 0;
  EXPECT_EQ(decode_boot(bytes).error().code(), Errc::not_canonical);
}

TEST(Boot, RefusesTooMuchAndOddBytes) {
  auto large = boot();
  large.configuration.resize(kMaxBootSize);
  EXPECT_EQ(decode_boot(encode(large)).error().code(), Errc::limit_exceeded);
  auto trailing = encode(boot());
  trailing.push_back(0);
  EXPECT_EQ(decode_boot(trailing).error().code(), Errc::trailing_bytes);
  auto domain = encode(boot());
  domain[2] = 'x';
  EXPECT_FALSE(decode_boot(domain).ok());
  auto pair = process::stream_pair();
  EXPECT_EQ(read_boot(std::move(pair->first)).error().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace cloister::device
