#include "frames.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/cbor.hpp"
#include "cloister/protocol/challenge.hpp"

namespace cloister::sdk {
namespace {

namespace guest = protocol::challenge;

/// What the guest reads in a frame of ours.
guest::ToGuest read_by_guest(ByteView frame) {
  guest::Deframer deframer;
  deframer.feed(frame);
  const auto body = deframer.next();
  return *guest::decode_to_guest(**body);
}

/// What we read in a frame of the guest.
Result<FromGuest> from(const guest::ToChallenge& message) { return decode(ByteView{guest::frame(message)}.subspan(4)); }

TEST(SdkFrames, GuestReadsWhatWeWrite) {
  EXPECT_EQ(std::get<guest::Ready>(read_by_guest(ready_frame(64))).slots, 64U);
  EXPECT_EQ(std::get<guest::Failed>(read_by_guest(failed_frame("why"))).detail, "why");
  const auto progress = std::get<guest::Progress>(read_by_guest(progress_frame("job-1", 250)));
  EXPECT_EQ(progress.job, "job-1");
  EXPECT_EQ(progress.percent, 100);
  for (const auto& [level, name] : {std::pair{LogLevel::debug, "debug"}, std::pair{LogLevel::info, "info"},
                                    std::pair{LogLevel::warn, "warn"}, std::pair{LogLevel::error, "error"}}) {
    const auto log = std::get<guest::Log>(read_by_guest(log_frame(level, "words")));
    EXPECT_EQ(log.level, name);
    EXPECT_EQ(log.text, "words");
  }
  const auto result = std::get<guest::Result>(read_by_guest(result_frame("job-1", false, Bytes{1, 2})));
  EXPECT_EQ(result.job, "job-1");
  EXPECT_EQ(result.status, "error");
  EXPECT_EQ(to_bytes(result.output), (Bytes{1, 2}));
}

TEST(SdkFrames, WeReadWhatTheGuestWrites) {
  const auto start = from(guest::Start{{{"a", {1}}, {"b", {}}}});
  ASSERT_TRUE(start) << start.error().text();
  const auto& secrets = std::get<Start>(*start).secrets;
  EXPECT_TRUE(same_bytes(*secrets.find("a"), Bytes{1}));
  EXPECT_TRUE(secrets.find("b")->empty());
  EXPECT_FALSE(secrets.find("c"));
  const auto job = from(guest::Job{"job-1", {7, 8}});
  ASSERT_TRUE(job);
  EXPECT_EQ(std::get<Job>(*job).id, "job-1");
  EXPECT_EQ(std::get<Job>(*job).payload, (Bytes{7, 8}));
  EXPECT_TRUE(std::holds_alternative<Stop>(*from(guest::Stop{})));
}

TEST(SdkFrames, DerivedKeysComeByPurposeOldestFirst) {
  const auto start = from(guest::Start{{{"disk/10", {10}}, {"disk/9", {9}}, {"disk", {1}}, {"disk/x", {2}}, {"diskette/1", {3}}}});
  ASSERT_TRUE(start) << start.error().text();
  const auto& secrets = std::get<Start>(*start).secrets;
  const auto keys = secrets.derived_keys("disk");
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0].version, 9U);
  EXPECT_TRUE(same_bytes(keys[0].value, Bytes{9}));
  EXPECT_EQ(keys[1].version, 10U);
  EXPECT_TRUE(same_bytes(keys[1].value, Bytes{10}));
  EXPECT_EQ(secrets.derived_keys("diskette").size(), 1U);
  EXPECT_TRUE(secrets.derived_keys("dis").empty());
}

TEST(SdkFrames, AsManySecretsAndKeysAsAVersionCanName) {
  guest::Start most;
  for (int i = 0; i < 192; ++i) most.secrets.emplace_back("n" + std::to_string(i), crypto::CleansedBytes{1});
  EXPECT_TRUE(from(most));
  most.secrets.emplace_back("one-more", crypto::CleansedBytes{1});
  EXPECT_FALSE(from(most));
}

TEST(SdkFrames, TextIsCutAndMadeUtf8) {
  const auto logged = [](std::string_view text) {
    return std::get<guest::Log>(read_by_guest(log_frame(LogLevel::info, text))).text;
  };
  EXPECT_EQ(logged(std::string(5000, 'x')), std::string(4096, 'x'));
  EXPECT_EQ(logged(std::string(4095, 'x') + "\xC3\xA9"), std::string(4095, 'x'));
  EXPECT_EQ(logged("a\xFFz"), "a?z");
}

TEST(SdkFrames, RefusesOtherFrames) {
  using codec::cbor::Writer;
  const auto refused = [](Bytes frame) { return !decode(frame); };
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused(Writer{}.array(2).text("cloister/challenge/2").text("stop").take()));
  EXPECT_TRUE(refused(Writer{}.array(2).text("cloister/challenge/1").text("ready").take()));
  EXPECT_TRUE(refused(Writer{}.array(3).text("cloister/challenge/1").text("stop").uint(1).take()));
  EXPECT_TRUE(refused(Writer{}.array(3).text("cloister/challenge/1").text("job").text("job-1").take()));
  EXPECT_TRUE(refused(Writer{}.array(4).text("cloister/challenge/1").text("job").text("").bytes({}).take()));
  EXPECT_TRUE(refused(Writer{}.array(4).text("cloister/challenge/1").text("start").array(0).null().take()));
  auto trailing = Writer{}.array(2).text("cloister/challenge/1").text("stop").take();
  EXPECT_FALSE(refused(trailing));
  trailing.push_back(0);
  EXPECT_TRUE(refused(trailing));
}

TEST(SdkFrames, RefusesASecretThatStandsTwice) { EXPECT_FALSE(from(guest::Start{{{"a", {1}}, {"a", {2}}}})); }

}  // namespace
}  // namespace cloister::sdk
