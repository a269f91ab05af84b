#include "profile.hpp"

#include <gtest/gtest.h>

namespace cloister::cli {
namespace {

TEST(Profiles, ReadAsTheyWereWritten) {
  Profiles profiles;
  profiles.put({"b", "https://b", "second", "ca.pem", {}});
  profiles.put({"a", "http://a", "first", {}, "/trust.json"});
  ASSERT_TRUE(profiles.use("a"));
  const auto again = Profiles::parse(profiles.write());
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(*again, profiles);
  EXPECT_EQ(*Profiles::parse(Profiles{}.write()), Profiles{});
}

TEST(Profiles, SayWhatIsWrongWithTheirText) {
  const auto refusal = [](std::string_view text) { return Profiles::parse(text).error().text(); };
  EXPECT_NE(refusal("{").find("truncated"), std::string::npos) << refusal("{");
  EXPECT_NE(refusal(R"({"version":2,"current":"","profiles":[]})").find("version"), std::string::npos);
  EXPECT_NE(refusal(R"({"version":1,"current":"","profiles":[],"extra":1})").find("unknown_member"), std::string::npos);
  EXPECT_NE(refusal(R"({"version":1,"current":"","profiles":[{"name":"No Id","server":"s","token":"t"}]})").find("an id expected"),
            std::string::npos);
}

}  // namespace
}  // namespace cloister::cli
