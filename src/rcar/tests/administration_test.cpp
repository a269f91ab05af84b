#include "cloister/rcar/administration.hpp"

#include <gtest/gtest.h>

namespace cloister::rcar {
namespace {

namespace json = codec::json;

TEST(ResourcePolicyMessage, CarriesRegoInBase64Url) {
  EXPECT_EQ(write_resource_policy("package policy\nallow = true\n"), R"({"policy":"cGFja2FnZSBwb2xpY3kKYWxsb3cgPSB0cnVlCg"})");
  EXPECT_EQ(parse_resource_policy(write_resource_policy("a??~\xC3\xA9")).value(), "a??~\xC3\xA9");
  const auto code = [](std::string_view text) { return parse_resource_policy(text).error().code(); };
  EXPECT_EQ(code(R"({"policy":"YT8/fg=="})"), Errc::malformed);
  EXPECT_EQ(code(R"({"policy":"_w"})"), Errc::malformed);  // not UTF-8
  EXPECT_EQ(code(R"({"policy":1})"), Errc::malformed);
  EXPECT_EQ(code("{}"), Errc::missing_member);
  EXPECT_EQ(code(std::string(kMaxPolicyMessage + 1, ' ')), Errc::limit_exceeded);
}

TEST(AttestationPolicyMessage, NamesItsPolicy) {
  const auto read = parse_attestation_policy(write_attestation_policy({"default_cpu", "package policy"})).value();
  EXPECT_EQ(read.id, "default_cpu");
  EXPECT_EQ(read.policy, "package policy");
  EXPECT_TRUE(parse_attestation_policy(R"({"policy_id":"x","policy":""})").ok());
  EXPECT_EQ(parse_attestation_policy(R"({"policy":""})").error().code(), Errc::missing_member);
  EXPECT_EQ(parse_attestation_policy(R"({"policy_id":"x"})").error().code(), Errc::missing_member);
  EXPECT_EQ(parse_attestation_policy(R"({"policy_id":"x","policy":"+/"})").error().code(), Errc::malformed);
}

TEST(ReferenceValues, ComeInAPayload) {
  const auto values = json::parse(R"({"svn":["1"],"major_version":1})").value();
  EXPECT_EQ(write_reference_values(json::parse(R"({"svn":["1"]})").value()), R"({"version":"0.1.0","type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="})");
  EXPECT_EQ(parse_reference_values(write_reference_values(values)).value(), values);
  const auto code = [](std::string_view text) { return parse_reference_values(text).error().code(); };
  EXPECT_EQ(code(R"({"version":"0.2.0","type":"sample","payload":"e30="})"), Errc::unsupported);
  EXPECT_EQ(code(R"({"version":"0.1.0","type":"corim","payload":"e30="})"), Errc::unsupported);
  EXPECT_EQ(code(R"({"version":"0.1.0","type":"sample","payload":"W10="})"), Errc::malformed);
  EXPECT_EQ(code(R"({"version":"0.1.0","type":"sample","payload":"e30"})"), Errc::malformed);
  EXPECT_EQ(code(R"({"version":"0.1.0","type":"sample"})"), Errc::missing_member);
  EXPECT_EQ(code(R"({"version":"0.1.0","type":"sample","provenance":"e30="})"), Errc::missing_member);
}

}  // namespace
}  // namespace cloister::rcar
