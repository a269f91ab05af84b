#include "cloister/protocol/host.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"

namespace cloister::protocol::host {
namespace {

const InstanceId kInstance = *InstanceId::parse("inst-a");

TEST(HostMessages, RoundTrip) {
  const std::vector<ToHost> to_host = {Hello{"server", ByteArray<32>{1}}, Welcome{*ValidatorId::parse("val-a"), "token"},
                                       Start{kInstance, Bytes{1, 2}, {Digest32{1}, Digest32{2}}, 256}, Stop{kInstance},
                                       StartValidatorTd{Bytes{1}}, Token{"token"}, RefusedLogin{"unknown", "no such hotkey"},
                                       Attempt{kInstance, *JobId::parse("job-a"), *AttemptId::parse("att-a"), true}};
  for (const auto& message : to_host) {
    auto decoded = decode_to_host(encode(message));
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(encode(*decoded), encode(message));
  }
  const std::vector<ToServer> to_server = {Login{ByteArray<32>{1}, ByteArray<64>{2}, 4, {}},
                                           Login{ByteArray<32>{1}, ByteArray<64>{2}, 4, {kInstance}}, Started{kInstance, 7},
                                           StartedValidatorTd{1}, StartFailed{kInstance, "no_memory", ""},
                                           StartFailed{{}, "x", "y"}, Exited{kInstance, -9}};
  for (const auto& message : to_server) {
    auto decoded = decode_to_server(encode(message));
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(encode(*decoded), encode(message));
  }
}

TEST(HostMessages, RefuseUnknownTypesMembersAndValues) {
  for (const auto* text : {"", "{}", "[]", R"({"type":"sing"})", R"({"type":"welcome"})", R"({"type":"token"})",
                           R"({"type":"welcome","validator":"val-a","token":"t","more":1})", R"({"type":"welcome","validator":"","token":"t"})",
                           R"({"type":"start","instance":"inst-a","configuration":"00","blobs":["zz"],"memory_mib":1})",
                           R"({"type":"hello","server_id":"s","nonce":"00"})"}) {
    EXPECT_FALSE(decode_to_host(text)) << text;
  }
  EXPECT_FALSE(decode_to_server(R"({"type":"started","instance":"inst-a","stream":-1})"));
  EXPECT_FALSE(decode_to_server(R"({"type":"welcome","validator":"val-a"})"));
  const auto login = encode(Login{{}, {}, 4, {kInstance}});
  for (const auto& running : {std::string{R"("inst-a")"}, std::string{"[1]"}, std::string{R"([""])"}}) {
    auto changed = login;
    EXPECT_FALSE(decode_to_server(changed.replace(changed.find(R"(["inst-a"])"), 10, running))) << running;
  }
  EXPECT_FALSE(decode_to_server(encode(Login{{}, {}, 4, std::vector<InstanceId>(1025, kInstance)})));
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

// --- docs/protocol/vectors/host.json, written anew where CLOISTER_WRITE_VECTORS is set ---

codec::json::Value vectors() {
  const auto validator = *ValidatorId::parse("val-example");
  const auto instance = *InstanceId::parse("inst-example");
  const ByteArray<32> nonce{0x11};
  const std::vector<ToHost> to_host = {Hello{"srv-example", nonce},
                                       Welcome{validator, "token-1"},
                                       RefusedLogin{"unauthenticated", "no enrolled hotkey with this signature"},
                                       StartValidatorTd{Bytes{0x84}},
                                       Start{instance, Bytes{0x85}, {Digest32{0x22}}, 256},
                                       Stop{instance},
                                       Token{"token-2"},
                                       Attempt{instance, *JobId::parse("job-example"), *AttemptId::parse("att-example"),
                                               true}};
  const std::vector<ToServer> to_server = {Login{ByteArray<32>{0x33}, ByteArray<64>{0x44}, 4, {instance}},
                                           StartedValidatorTd{0},
                                           Started{instance, 1},
                                           StartFailed{instance, "unavailable", "lab platform: gone"},
                                           Exited{instance, -9}};
  codec::json::Array server_says;
  for (const auto& message : to_host) server_says.emplace_back(encode(message));
  codec::json::Array host_says;
  for (const auto& message : to_server) host_says.emplace_back(encode(message));
  return codec::json::Object{{"to_host", std::move(server_says)},
                             {"to_server", std::move(host_says)},
                             {"signed_by_the_hotkey", codec::to_hex(login_message("srv-example", nonce))}};
}

TEST(HostVectors, AreThoseInTheDocumentation) {
  const auto path = test::source_dir() / "docs/protocol/vectors/host.json";
  const auto fresh = codec::json::write_pretty(vectors()) + "\n";
  if (std::getenv("CLOISTER_WRITE_VECTORS") != nullptr) std::ofstream{path} << fresh;
  EXPECT_EQ(test::read_text(path), fresh);
}

}  // namespace
}  // namespace cloister::protocol::host
