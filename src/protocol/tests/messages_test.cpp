#include "cloister/protocol/messages.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cbor.hpp"

namespace cloister::protocol {
namespace {

const SessionId kSession = *SessionId::parse("ses-a");
const AttemptId kAttempt = *AttemptId::parse("att-a");

std::vector<ToTd> all_to_td() {
  Challenge challenge;
  challenge.instance = *InstanceId::parse("inst-a");
  Challenge for_validator;
  for_validator.hotkey = ByteArray<32>{1};
  AssignJob job;
  job.job = *JobId::parse("job-a");
  job.attempt = kAttempt;
  job.fence = 3;
  job.version = *VersionId::parse("ver-a");
  job.ciphertext = Bytes(100, 7);
  job.timeout_ms = 1000;
  Release release;
  release.secrets.push_back({"name", "a/b", 2, ByteArray<32>{1}, Bytes{1, 2, 3}});
  Release with_keys = release;
  with_keys.keys.push_back({"disk", 2, ByteArray<32>{3}, Bytes{4, 5}});
  return {challenge, for_validator, Accepted{kSession, from_micros(-5)}, Refused{"a", "b"}, release, Release{}, with_keys, job,
          CancelJob{kAttempt}, ResultAccepted{kAttempt}, ResultRefused{kAttempt, "stale_fence"},
          ShownServer{{Bytes{1}, Bytes{2}, Bytes{3}, "{}"}}, ShownServer{}};
}

std::vector<ToServer> all_to_server() {
  Attest attest{Bytes{1}, Bytes{2}, Bytes{3}, Bytes{4}};
  SubmitResult result;
  result.attempt = kAttempt;
  result.envelope = Bytes{1};
  return {attest, Ready{4}, Failed{"a", "b"}, Heartbeat{kAttempt, 2, 50}, AttemptFailed{kAttempt, 1, "x"}, result, Demand{ByteArray<32>{7}}};
}

TEST(ChannelMessages, RoundTrip) {
  for (const auto& message : all_to_td()) {
    const auto bytes = encode(message);
    auto decoded = decode_to_td(bytes);
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(decoded->index(), message.index());
    EXPECT_EQ(encode(*decoded), bytes);
  }
  for (const auto& message : all_to_server()) {
    const auto bytes = encode(message);
    auto decoded = decode_to_server(bytes);
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(decoded->index(), message.index());
    EXPECT_EQ(encode(*decoded), bytes);
  }
}

TEST(ChannelMessages, OfOneDirectionAreRefusedInTheOther) {
  for (const auto& message : all_to_td()) EXPECT_FALSE(decode_to_server(encode(message)));
  for (const auto& message : all_to_server()) EXPECT_FALSE(decode_to_td(encode(message)));
}

TEST(ChannelMessages, RefuseEveryTruncationAndTrailingBytes) {
  for (const auto& message : all_to_td()) {
    auto bytes = encode(message);
    for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_to_td(ByteView{bytes}.first(n)));
    bytes.push_back(0);
    EXPECT_FALSE(decode_to_td(bytes));
  }
}

TEST(ChannelMessages, RefuseValuesOutOfRange) {
  EXPECT_FALSE(decode_to_server(encode(ToServer{Ready{0}})));
  EXPECT_FALSE(decode_to_server(encode(ToServer{Ready{65}})));
  EXPECT_FALSE(decode_to_server(encode(ToServer{Heartbeat{kAttempt, 1, 101}})));
  EXPECT_FALSE(decode_to_server(encode(ToServer{Failed{"code", std::string(513, 'x')}})));
  Release release;
  release.secrets.resize(65);
  EXPECT_FALSE(decode_to_td(encode(ToTd{release})));
}

TEST(ChannelMessages, RefuseAnotherDomain) {
  codec::cbor::Writer out;
  out.array(3).text("cloister/msg/2").text("ready").uint(1);
  EXPECT_FALSE(decode_to_server(std::move(out).take()));
}

TEST(ChannelMessages, ADemandAndItsAnswerHaveTheseMembersAndNoOthers) {
  const auto begin = [](std::size_t members, std::string_view kind) {
    codec::cbor::Writer out;
    out.array(members).text("cloister/msg/1").text(kind);
    return out;
  };
  const ToServer demand = Demand{ByteArray<32>{7}};
  EXPECT_EQ(encode(demand), begin(3, "demand").bytes(ByteArray<32>{7}).take());
  EXPECT_EQ(decode_to_server(begin(2, "demand").take()).error().code(), Errc::malformed);
  EXPECT_EQ(decode_to_server(begin(3, "demand").null().take()).error().code(), Errc::malformed);
  EXPECT_EQ(decode_to_server(begin(3, "demand").bytes(Bytes(31)).take()).error().code(), Errc::malformed);
  EXPECT_EQ(decode_to_server(begin(4, "demand").bytes(Bytes(32)).null().take()).error().code(), Errc::malformed);

  const ToTd shown = ShownServer{{Bytes{1}, Bytes{2}, Bytes{3}, "{}"}};
  EXPECT_EQ(encode(shown), begin(6, "server").bytes(Bytes{1}).bytes(Bytes{2}).bytes(Bytes{3}).bytes(as_bytes("{}")).take());
  const auto parts = [&](std::size_t members) {
    return begin(members, "server").bytes(Bytes{1}).bytes(Bytes{2}).bytes(Bytes{3});
  };
  EXPECT_EQ(decode_to_td(parts(5).take()).error().code(), Errc::malformed);
  EXPECT_EQ(decode_to_td(parts(6).null().take()).error().code(), Errc::malformed);
  EXPECT_EQ(decode_to_td(parts(6).text("{}").take()).error().code(), Errc::malformed);
  EXPECT_EQ(decode_to_td(parts(7).bytes(Bytes{4}).null().take()).error().code(), Errc::malformed);
  ServerProof large;
  for (auto* part : {&large.evidence, &large.event_log, &large.preimage}) {
    *part = Bytes(kMaxServerProof + 1);
    EXPECT_EQ(decode_to_td(encode(ToTd{ShownServer{large}})).error().code(), Errc::limit_exceeded);
    part->pop_back();
    EXPECT_TRUE(decode_to_td(encode(ToTd{ShownServer{large}})).ok());
  }
  large.collateral.resize(kMaxServerProof + 1);
  EXPECT_EQ(decode_to_td(encode(ToTd{ShownServer{large}})).error().code(), Errc::limit_exceeded);
}

TEST(ChannelMessages, AReleaseWithoutKeysIsWhatItAlwaysWas) {
  codec::cbor::Writer out;
  out.array(3).text("cloister/msg/1").text("release").array(0);
  EXPECT_EQ(encode(ToTd{Release{}}), std::move(out).take());
  codec::cbor::Writer with_none;
  with_none.array(4).text("cloister/msg/1").text("release").array(0).array(0);
  EXPECT_EQ(decode_to_td(std::move(with_none).take()).error().code(), Errc::not_canonical);
  codec::cbor::Writer with_more;
  with_more.array(5).text("cloister/msg/1").text("release").array(0).array(0).array(0);
  EXPECT_EQ(decode_to_td(std::move(with_more).take()).error().code(), Errc::malformed);
  Release many;
  many.keys.resize(128);
  EXPECT_TRUE(decode_to_td(encode(ToTd{many})));
  many.keys.resize(129);
  EXPECT_FALSE(decode_to_td(encode(ToTd{many})));
}

TEST(KeyReleaseInfo, DiffersInEveryMemberAndFromSecrets) {
  const auto base = key_release_info(kSession, "a", 1);
  EXPECT_NE(base, key_release_info(*SessionId::parse("ses-b"), "a", 1));
  EXPECT_NE(base, key_release_info(kSession, "b", 1));
  EXPECT_NE(base, key_release_info(kSession, "a", 2));
  EXPECT_NE(base, release_info(kSession, "a", 1));
}

TEST(ReleaseInfo, DiffersInEveryMember) {
  const auto base = release_info(kSession, "a", 1);
  EXPECT_NE(base, release_info(*SessionId::parse("ses-b"), "a", 1));
  EXPECT_NE(base, release_info(kSession, "b", 1));
  EXPECT_NE(base, release_info(kSession, "a", 2));
}

}  // namespace
}  // namespace cloister::protocol
