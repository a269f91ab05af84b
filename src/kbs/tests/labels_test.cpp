#include "cloister/kbs/labels.hpp"

#include <gtest/gtest.h>

#include "cloister/kbs/ask.hpp"
#include "cloister/kbs/generator.hpp"
#include "support/support.hpp"

namespace cloister::kbs {
namespace {

TEST(LabelsTest, AreReadAndCompared) {
  const auto labels = parse_labels("env=prod,example.org/team=a.B-c_1,empty=").value();
  EXPECT_EQ(labels, (Labels{{"empty", ""}, {"env", "prod"}, {"example.org/team", "a.B-c_1"}}));
  EXPECT_TRUE(parse_labels("")->empty());
  EXPECT_TRUE(carries(labels, {}));
  EXPECT_TRUE(carries(labels, {{"env", "prod"}, {"empty", ""}}));
  EXPECT_FALSE(carries(labels, {{"env", "dev"}}));
  EXPECT_FALSE(carries(labels, {{"env", "prod"}, {"other", ""}}));
  EXPECT_TRUE(parse_labels(std::string(63, 'a') + '=' + std::string(63, 'b')).ok());
  EXPECT_TRUE(parse_labels(std::string(253, 'a') + "/n=v").ok());
}

TEST(LabelsTest, RefuseWhatKubernetesRefuses) {
  for (const auto& text : std::vector<std::string>{
           "env", "=x", "env=a=b", "env=prod,", ",env=prod", "env=prod,,a=b", "-a=b", "a-=b", ".a=b", "a b=c", "a=b c", "a=-b", "a=b.",
           "/a=b", "a/=b", "a/b/c=d", "Example.org/a=b", "a..b/c=d", "-a/b=c", "a_b/c=d", "a=\xc3\xa9", std::string(64, 'a') + "=b",
           "a=" + std::string(64, 'b'), std::string(254, 'a') + "/n=v"}) {
    const auto refused = parse_labels(text);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_EQ(refused.error().code(), Errc::invalid_argument) << text;
  }
  EXPECT_EQ(parse_labels("a=b,a=c").error().code(), Errc::duplicate_member);
  Labels many;
  for (std::size_t i = 0; i < kMaxLabels; ++i) many.emplace("n" + std::to_string(i), "");
  EXPECT_TRUE(check_labels(many).ok());
  many.emplace("more", "");
  EXPECT_EQ(check_labels(many).error().code(), Errc::limit_exceeded);
}

TEST(AskTest, VersionsAreNumbersFromOneOn) {
  EXPECT_EQ(parse_version("1").value(), 1U);
  EXPECT_EQ(parse_version("9007199254740992").value(), std::uint64_t{1} << 53);
  for (const auto* text : {"", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "latest", "9007199254740993", "99999999999999999999"}) {
    EXPECT_EQ(parse_version(text).error().code(), Errc::invalid_argument) << text;
  }
}

TEST(AskTest, KeepsTheWholeQueryForPolicies) {
  const auto path = rcar::ResourcePath::parse("a/b/c").value();
  const auto ask = Ask::make(path, {{"version", "2"}, {"purpose", "boot"}}).value();
  EXPECT_EQ(ask.version, 2U);
  EXPECT_EQ(ask.query, (std::map<std::string, std::string>{{"version", "2"}, {"purpose", "boot"}}));
  EXPECT_FALSE(Ask::make(path, {{"Version", "x"}})->version);
  EXPECT_EQ(Ask::make(path, {{"version", "x"}}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(Ask::make(path, {{"a", "1"}, {"a", "2"}}).error().code(), Errc::invalid_argument);
}

TEST(GeneratorTest, MakesRandomBytesOfThatNumber) {
  test::SeededRandom random{1};
  const auto generator = Generator::parse("random/32").value();
  EXPECT_EQ(generator.str(), "random/32");
  const auto first = generator.make(random);
  EXPECT_EQ(first.size(), 32U);
  EXPECT_FALSE(same_bytes(first.reveal(), generator.make(random).reveal()));
  EXPECT_TRUE(Generator::random(Generator::kMinBytes).ok());
  EXPECT_TRUE(Generator::random(Generator::kMaxBytes).ok());
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{15}, std::uint64_t{4097}, std::uint64_t{1} << 40}) {
    EXPECT_EQ(Generator::random(bytes).error().code(), Errc::invalid_argument) << bytes;
  }
  for (const auto* text : {"", "random", "random/", "random/x", "random/32x", "random/-32", "rsa/2048", "random/99999999999999999999"}) {
    EXPECT_EQ(Generator::parse(text).error().code(), Errc::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace cloister::kbs
