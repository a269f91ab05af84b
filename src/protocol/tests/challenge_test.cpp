#include "cloister/protocol/challenge.hpp"

#include <gtest/gtest.h>

namespace cloister::protocol::challenge {
namespace {

TEST(ChallengeFrames, RoundTripThroughADeframer) {
  crypto::CleansedBytes stream;
  const std::vector<ToGuest> messages = {Ready{2}, Progress{"job-a", 10}, Log{"info", "text"},
                                         Result{"job-a", "ok", {1, 2}}, Failed{"no salt"}};
  for (const auto& message : messages) {
    const auto bytes = frame(message);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
  }
  Deframer deframer;
  std::size_t seen = 0;
  for (const auto byte : stream) {
    deframer.feed({&byte, 1});
    auto next = deframer.next();
    ASSERT_TRUE(next);
    if (!*next) continue;
    auto decoded = decode_to_guest(**next);
    ASSERT_TRUE(decoded) << decoded.error().text();
    EXPECT_EQ(decoded->index(), messages[seen].index());
    EXPECT_EQ(frame(*decoded), frame(messages[seen]));
    ++seen;
  }
  EXPECT_EQ(seen, messages.size());
}

TEST(ChallengeFrames, RefuseTooLongAndForeignOnes) {
  Deframer deframer;
  deframer.feed(Bytes{0xFF, 0xFF, 0xFF, 0xFF});
  EXPECT_EQ(deframer.next().error().code(), Errc::limit_exceeded);
  const auto start = frame(ToChallenge{Start{{{"salt", {1}}}}});
  EXPECT_TRUE(decode_to_challenge(ByteView{start}.subspan(4)));
  EXPECT_FALSE(decode_to_guest(ByteView{start}.subspan(4)));
  const auto odd = frame(ToGuest{Result{"job-a", "perhaps", {}}});
  EXPECT_FALSE(decode_to_guest(ByteView{odd}.subspan(4)));
}

TEST(ChallengeFrames, OutputHasAtMost64MiB) {
  Result result{"job-a", "ok", crypto::CleansedBytes(kMaxOutput)};
  EXPECT_TRUE(decode_to_guest(ByteView{frame(ToGuest{result})}.subspan(4)));
  result.output.push_back(0);
  EXPECT_EQ(decode_to_guest(ByteView{frame(ToGuest{result})}.subspan(4)).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::protocol::challenge
