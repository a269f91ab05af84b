#include <gmock/gmock.h>

#include <thread>

#include "cloister/codec/text.hpp"
#include "cloister/device/boot.hpp"
#include "cloister/device/lab_socket_device.hpp"
#include "cloister/device/tee_service.hpp"
#include "cloister/device/tee_wire.hpp"
#include "cloister/process/unix_socket.hpp"
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

/// A device that answers from a script of its own.
class Scripted final : public TeeDevice {
 public:
  Result<Bytes> report(const Digest64& data) override { return to_bytes(ByteView{data}); }
  Result<void> extend_rtmr(unsigned index, const Digest48& digest) override {
    if (index < 2) return Error{Errc::permission_denied, "RTMR"};
    extended.emplace_back(index, digest);
    return {};
  }
  Result<Quote> quote(const Digest64& data) override { return Quote{.evidence = Bytes(100'000, data[0]), .collateral = Bytes{7}}; }
  std::vector<std::pair<unsigned, Digest48>> extended;
};

TEST(TeeService, AnswersWithWhatTheDeviceGives) {
  Scripted device;
  EXPECT_EQ(*decode_report_answer(answer_tee_request(device, encode(ReportRequest{data64()}))), to_bytes(ByteView{data64()}));
  EXPECT_EQ(decode_quote_answer(answer_tee_request(device, encode(QuoteRequest{data64()})))->collateral, Bytes{7});
  EXPECT_TRUE(decode_extend_answer(answer_tee_request(device, encode(ExtendRequest{.index = 3, .digest = digest48()}))));
  EXPECT_EQ(device.extended, (std::vector<std::pair<unsigned, Digest48>>{{3, digest48()}}));
  const auto denied = answer_tee_request(device, encode(ExtendRequest{.index = 0, .digest = digest48()}));
  EXPECT_EQ(decode_extend_answer(denied).error().code(), Errc::permission_denied);
  EXPECT_FALSE(decode_quote_answer(answer_tee_request(device, Bytes{0x80})));
}

class TeeSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto listener = process::listen_at(path());
    ASSERT_TRUE(listener) << listener.error().text();
    listener_ = std::move(*listener);
    auto stop = process::stream_pair();
    ASSERT_TRUE(stop);
    stop_ = std::move(*stop);
    thread_ = std::thread{[this] { ended_ = serve_tee_socket(device_, listener_.get(), stop_.first.get()).ok(); }};
  }
  void TearDown() override {
    stop_.second.reset();
    thread_.join();
    EXPECT_TRUE(ended_);
  }
  [[nodiscard]] std::filesystem::path path() const { return dir_.path() / "tee.sock"; }
  [[nodiscard]] process::UniqueFd connect() const { return *process::connect_to(path()); }

  test::TempDir dir_;
  Scripted device_;
  process::UniqueFd listener_;
  std::pair<process::UniqueFd, process::UniqueFd> stop_;
  std::thread thread_;
  bool ended_ = false;
};

TEST_F(TeeSocketTest, ServesSeveralAtOnceThroughTheDeviceOfTheLab) {
  LabSocketDevice first{connect()};
  LabSocketDevice second{connect()};
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(first.quote(data64())->evidence, Bytes(100'000, 0x5A));
    EXPECT_EQ(*second.report(data64()), to_bytes(ByteView{data64()}));
    EXPECT_EQ(second.extend_rtmr(1, digest48()).error().code(), Errc::permission_denied);
  }
}

TEST_F(TeeSocketTest, OneThatBreaksTheFramesEndsAndOthersGoOn) {
  LabSocketDevice good{connect()};
  process::FrameSocket bad{connect(), {}};
  const Deadline deadline{std::chrono::steady_clock::now() + std::chrono::seconds{10}};
  ASSERT_TRUE(bad.send(Bytes(kMaxTeeRequest + 1), {}, deadline));
  EXPECT_FALSE(bad.receive(deadline));
  process::FrameSocket smuggler{connect(), {}};
  const std::array<int, 1> descriptors{0};
  ASSERT_TRUE(smuggler.send(encode(ReportRequest{data64()}), descriptors, deadline));
  EXPECT_FALSE(smuggler.receive(deadline));
  process::FrameSocket odd{connect(), {}};
  ASSERT_TRUE(odd.send(Bytes{0x80}, {}, deadline));
  auto answer = odd.receive(deadline);
  ASSERT_TRUE(answer) << "told, and not ended";
  EXPECT_FALSE(decode_report_answer(answer->payload));
  EXPECT_TRUE(good.report(data64()));
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
