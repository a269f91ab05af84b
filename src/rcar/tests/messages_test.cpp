#include "cloister/rcar/messages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cloister/rcar/refusal.hpp"

namespace cloister::rcar {
namespace {

using testing::HasSubstr;

TEST(Tees, AreNamedAsTheProtocolNamesThem) {
  for (const std::string_view name : {"az-snp-vtpm", "az-tdx-vtpm", "cca", "csv", "hygondcu", "nvidia", "nvidia-dpu", "sample",
                                      "sampledevice", "se", "sgx", "snp", "tdx", "tpm"}) {
    const auto tee = tee_from_string(name);
    ASSERT_TRUE(tee) << name;
    EXPECT_EQ(to_string(*tee), name);
  }
  EXPECT_EQ(tee_from_string("nvidiadpu"), Tee::nvidia_dpu);
  EXPECT_FALSE(tee_from_string("TDX"));
  EXPECT_FALSE(tee_from_string(""));
}

TEST(Request, IsWrittenAsThePublicClientWritesIt) {
  EXPECT_EQ(write(Request{"0.4.0", Tee::sample}),
            R"({"version":"0.4.0","tee":"sample","extra-params":{"supported-hash-algorithms":["sha256","sha384","sha512","sm3"]}})");
  EXPECT_EQ(parse_request(write(Request{"0.4.0", Tee::tdx})).value(), (Request{"0.4.0", Tee::tdx}));
}

TEST(Request, TakesWhatThePublicServerTakes) {
  for (const auto* text : {R"({"version":"0.4.0","tee":"snp","extra-params":""})", R"({"tee":"snp","extra-params":null,"version":"0.4.0"})",
                           R"({"version":"0.4.0","tee":"snp","extra-params":{"a":[1]},"more":true})"}) {
    EXPECT_EQ(parse_request(text).value().tee, Tee::snp) << text;
  }
}

TEST(Request, TakesEveryPatchOfItsVersionAndNoOther) {
  const auto with = [](std::string_view version) {
    return parse_request(R"({"version":")" + std::string{version} + R"(","tee":"sample","extra-params":""})");
  };
  for (const auto* version : {"0.4.0", "0.4.1", "0.4.12", "0.4.999999999"}) EXPECT_TRUE(with(version).ok()) << version;
  for (const auto* version : {"0.1.0", "0.3.0", "0.5.0", "1.4.0", "0.4", "0.4.", "0.4.00", "0.4.01", "0.4.0-rc1", "0.4.0+x", " 0.4.0",
                              "0.4.x", "0.4.-1", "0.4.1000000000", "0.40", ""}) {
    const auto refused = with(version);
    ASSERT_FALSE(refused.ok()) << version;
    EXPECT_EQ(refused.error().code(), Errc::unsupported);
    EXPECT_EQ(refused.error().detail(), std::string{"KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is "} + version);
  }
}

TEST(Request, RefusesWhatItIsNot) {
  const auto code = [](std::string_view text) { return parse_request(text).error().code(); };
  EXPECT_EQ(code(R"({"version":"0.4.0","tee":"tdx"})"), Errc::missing_member);
  EXPECT_EQ(code(R"({"version":"0.4.0","extra-params":""})"), Errc::missing_member);
  EXPECT_EQ(code(R"({"tee":"tdx","extra-params":""})"), Errc::missing_member);
  EXPECT_EQ(code(R"({"version":"0.4.0","tee":"toaster","extra-params":""})"), Errc::unsupported);
  EXPECT_EQ(code(R"({"version":4,"tee":"tdx","extra-params":""})"), Errc::malformed);
  EXPECT_EQ(code(R"({"version":"0.4.0","tee":"tdx","tee":"sample","extra-params":""})"), Errc::duplicate_member);
  EXPECT_EQ(code("[]"), Errc::malformed);
  EXPECT_EQ(code(""), Errc::truncated);
  EXPECT_EQ(code(std::string(kMaxRequestSize + 1, ' ')), Errc::limit_exceeded);
}

TEST(Challenge, CarriesItsNonceInStandardBase64) {
  Challenge challenge;
  challenge.nonce.fill(0xFB);
  const auto text = write(challenge);
  EXPECT_EQ(text, R"({"nonce":"+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=","extra-params":""})");
  EXPECT_EQ(challenge.nonce_text().size(), 44U);
  EXPECT_EQ(parse_challenge(text).value(), challenge);
  EXPECT_TRUE(parse_challenge(R"({"nonce":"+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=","extra-params":{"selected-hash-algorithm":"sha384"}})").ok());
}

TEST(Challenge, RefusesWhatItIsNot) {
  const auto code = [](std::string_view text) { return parse_challenge(text).error().code(); };
  EXPECT_EQ(code(R"({"nonce":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=","extra-params":""})"), Errc::malformed);
  EXPECT_EQ(code(R"({"nonce":"AAAA","extra-params":""})"), Errc::malformed);
  EXPECT_EQ(code(R"({"nonce":"+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s="})"), Errc::missing_member);
  EXPECT_EQ(code(R"({"extra-params":""})"), Errc::missing_member);
  EXPECT_EQ(code(R"({"nonce":"+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=","extra-params":{"selected-hash-algorithm":"sha512"}})"),
            Errc::unsupported);
}

TEST(Token, IsAnAnswerOfItsOwn) {
  EXPECT_EQ(write_token("a.b.c"), R"({"token":"a.b.c"})");
  EXPECT_EQ(parse_token(write_token("a.b.c")).value(), "a.b.c");
  EXPECT_EQ(parse_token("{}").error().code(), Errc::missing_member);
  EXPECT_EQ(parse_token(R"({"token":1})").error().code(), Errc::malformed);
}

TEST(Refusal, HasTheFormThatClientsExpect) {
  EXPECT_EQ(write_refusal(RefusalKind::policy_deny, "Access denied by policy"),
            R"({"type":"https://github.com/confidential-containers/kbs/errors/PolicyDeny","detail":"Access denied by policy"})");
  const auto read = parse_refusal(write_refusal(RefusalKind::token_not_found, "x")).value();
  EXPECT_EQ(read.kind, "TokenNotFound");
  EXPECT_EQ(read.detail, "x");
  EXPECT_EQ(parse_refusal(R"({"type":"urn:x","detail":"y","code":"z"})")->kind, "urn:x");
  EXPECT_EQ(parse_refusal(R"({"type":"urn:x"})").error().code(), Errc::missing_member);
  EXPECT_EQ(parse_refusal(R"({"detail":"urn:x"})").error().code(), Errc::missing_member);
  EXPECT_EQ(parse_refusal("unauthorized").error().code(), Errc::malformed);
}

}  // namespace
}  // namespace cloister::rcar
