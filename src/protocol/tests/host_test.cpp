#include "cloister/protocol/host.hpp"

#include <gtest/gtest.h>

namespace cloister::protocol::host {
namespace {

const InstanceId kInstance = *InstanceId::parse("inst-a");

TEST(HostMessages, RoundTrip) {
  const std::vector<ToHost> to_host = {Hello{"server", ByteArray<32>{1}}, Welcome{*ValidatorId::parse("val-a"), "token"},
                                       Start{kInstance, Bytes{1, 2}, {Digest32{1}, Digest32{2}}, 256}, Stop{kInstance},
                                       StartValidatorTd{Bytes{1}}, RefusedLogin{"unknown", "no such hotkey"},
                                       Attempt{kInstance, *JobId::parse("job-a"), *AttemptId::parse("att-a"), true}};
  for (const auto& message : to_host) {
    auto decoded = decode_to_host(encode(message));
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(encode(*decoded), encode(message));
  }
  const std::vector<ToServer> to_server = {Login{ByteArray<32>{1}, ByteArray<64>{2}, 4}, Started{kInstance, 7},
                                           StartedValidatorTd{1}, StartFailed{kInstance, "no_memory", ""},
                                           StartFailed{{}, "x", "y"}, Exited{kInstance, -9}};
  for (const auto& message : to_server) {
    auto decoded = decode_to_server(encode(message));
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(encode(*decoded), encode(message));
  }
}

TEST(HostMessages, RefuseUnknownTypesMembersAndValues) {
  for (const auto* text : {"", "{}", "[]", R"({"type":"sing"})", R"({"type":"welcome"})",
                           R"({"type":"welcome","validator":"val-a","token":"t","more":1})", R"({"type":"welcome","validator":"","token":"t"})",
                           R"({"type":"start","instance":"inst-a","configuration":"00","blobs":["zz"],"memory_mib":1})",
                           R"({"type":"hello","server_id":"s","nonce":"00"})"}) {
    EXPECT_FALSE(decode_to_host(text)) << text;
  }
  EXPECT_FALSE(decode_to_server(R"({"type":"started","instance":"inst-a","stream":-1})"));
  EXPECT_FALSE(decode_to_server(R"({"type":"welcome","validator":"val-a"})"));
}

TEST(StreamFrames, RoundTrip) {
  const auto data = encode_data(5, to_bytes("abc"));
  auto frame = decode_frame(data);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->kind, FrameKind::data);
  EXPECT_EQ(frame->stream, 5U);
  EXPECT_EQ(as_text(frame->payload), "abc");
  EXPECT_EQ(decode_frame(encode_close(9))->kind, FrameKind::close);
  const auto credit = encode_credit(9, 70000);
  EXPECT_EQ(decode_frame(credit)->credit(), 70000U);
}

TEST(StreamFrames, RefuseBadShapes) {
  EXPECT_FALSE(decode_frame({}));
  EXPECT_FALSE(decode_frame(Bytes{0, 0, 0, 0}));
  EXPECT_FALSE(decode_frame(Bytes{3, 0, 0, 0, 1}));
  EXPECT_FALSE(decode_frame(Bytes{0, 0, 0, 0, 1}));           // data without data
  EXPECT_FALSE(decode_frame(Bytes{1, 0, 0, 0, 1, 1}));        // close with data
  EXPECT_FALSE(decode_frame(Bytes{2, 0, 0, 0, 1, 1, 1, 1}));  // credit of three bytes
  Bytes long_frame(5 + kMaxData + 1, 0);
  EXPECT_FALSE(decode_frame(long_frame));
}

TEST(LoginMessage, CoversServerAndNonce) {
  const auto base = login_message("server", ByteArray<32>{1});
  EXPECT_NE(base, login_message("other", ByteArray<32>{1}));
  EXPECT_NE(base, login_message("server", ByteArray<32>{2}));
}

}  // namespace
}  // namespace cloister::protocol::host
