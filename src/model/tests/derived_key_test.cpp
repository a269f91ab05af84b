#include "cloister/model/derived_key.hpp"

#include <gtest/gtest.h>

#include "cloister/codec/text.hpp"
#include "cloister/model/challenge.hpp"

namespace cloister::model {
namespace {

namespace json = codec::json;

ReleaseConditions parsed(std::string_view text) {
  const auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  auto conditions = parse_release_conditions(*value);
  EXPECT_TRUE(conditions) << conditions.error().text();
  return conditions ? *conditions : ReleaseConditions{};
}

constexpr std::string_view kWhole = R"({"versions":["ver-a","ver-b"],"measurements":[
  {"mrtd":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"},
  {"image_digest":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
   "configuration_digest":"sha256:100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}],
  "tcb":{"tdx_components":"03010200000000000000000000000000","sgx_components":"07070202030100030000000000000000",
  "pce_svn":13,"tcb_date":"2024-03-13T00:00:00Z"}})";

TEST(ReleaseConditions, RoundTrip) {
  for (const auto text :
       {kWhole, std::string_view{R"({"any_version":true})"}, std::string_view{R"({"versions":["v"],"tcb":{}})"}}) {
    const auto first = parsed(text);
    const auto written = to_json(first);
    const auto second = parse_release_conditions(written);
    ASSERT_TRUE(second) << second.error().text();
    EXPECT_EQ(*second, first);
    EXPECT_EQ(to_json(*second), written);
  }
  const auto whole = parsed(kWhole);
  EXPECT_EQ(whole.versions.size(), 2U);
  ASSERT_EQ(whole.measurements.size(), 2U);
  EXPECT_EQ((*whole.measurements[0].mrtd)[47], 0x2F);
  EXPECT_FALSE(whole.measurements[0].image_digest);
  EXPECT_EQ((*whole.measurements[1].configuration_digest)[0], 0x10);
  EXPECT_EQ((*whole.tcb.tdx_components)[0], 3);
  EXPECT_EQ((*whole.tcb.sgx_components)[7], 3);
  EXPECT_EQ(whole.tcb.pce_svn, 13);
  EXPECT_EQ(whole.tcb.tcb_date, *from_civil(2024, 3, 13, 0, 0, 0));
}

TEST(ReleaseConditions, RefuseWhatIsUnclear) {
  const std::string many_versions = [] {
    std::string out = R"({"versions":["v0")";
    for (int i = 1; i < 65; ++i) out += ",\"v" + std::to_string(i) + '"';
    return out + "]}";
  }();
  const std::pair<std::string, Errc> cases[] = {
      {"{}", Errc::invalid_argument},  // nobody is allowed
      {R"({"any_version":false})", Errc::invalid_argument},
      {R"({"any_version":true,"versions":["ver-a"]})", Errc::invalid_argument},
      {R"({"versions":[],"measurements":[]})", Errc::invalid_argument},
      {R"({"versions":["No Id"]})", Errc::invalid_argument},
      {R"({"versions":[1]})", Errc::invalid_argument},
      {R"({"versions":"ver-a"})", Errc::malformed},
      {many_versions, Errc::limit_exceeded},
      {R"({"measurements":[{}]})", Errc::invalid_argument},
      {R"({"measurements":[{"mrtd":"00"}]})", Errc::malformed},
      {R"({"measurements":[{"image_digest":"00"}]})", Errc::malformed},
      {R"({"measurements":[{"rtmr3":"00"}]})", Errc::unknown_member},
      {R"({"any_version":true,"tcb":{"status":"UpToDate"}})", Errc::unknown_member},
      {R"({"any_version":true,"tcb":{"tdx_components":"0301"}})", Errc::malformed},
      {R"({"any_version":true,"tcb":{"sgx_components":"zz"}})", Errc::malformed},
      {R"({"any_version":true,"tcb":{"pce_svn":65536}})", Errc::malformed},
      {R"({"any_version":true,"tcb":{"tcb_date":"soon"}})", Errc::malformed},
      {R"({"any_version":true,"tcb":[]})", Errc::malformed},
      {R"({"any_version":true,"surprise":1})", Errc::unknown_member},
  };
  for (const auto& [text, code] : cases) {
    const auto conditions = parse_release_conditions(*json::parse(text));
    ASSERT_FALSE(conditions) << text;
    EXPECT_EQ(conditions.error().code(), code) << text << ": " << conditions.error().text();
  }
}

TEST(TcbFloor, IsComparedMemberByMember) {
  const auto floor = parsed(kWhole).tcb;
  EXPECT_TRUE(at_least_as_high(floor, floor));
  EXPECT_TRUE(at_least_as_high(floor, {}));
  EXPECT_FALSE(at_least_as_high({}, floor));
  EXPECT_TRUE(at_least_as_high({}, {}));
  auto raised = floor;
  raised.tdx_components->at(0) = 4;
  raised.sgx_components->at(15) = 1;
  raised.pce_svn = std::uint16_t{14};
  raised.tcb_date = *floor.tcb_date + std::chrono::hours{1};
  EXPECT_TRUE(at_least_as_high(raised, floor));
  EXPECT_FALSE(at_least_as_high(floor, raised));
  std::vector<TcbFloor> lower(8, floor);
  lower[0].tdx_components->at(2) = 1;
  lower[1].tdx_components.reset();
  lower[2].sgx_components->at(0) = 6;
  lower[3].sgx_components.reset();
  lower[4].pce_svn = std::uint16_t{12};
  lower[5].pce_svn.reset();
  lower[6].tcb_date = *floor.tcb_date - std::chrono::seconds{1};
  lower[7].tcb_date.reset();
  for (const auto& one : lower) EXPECT_FALSE(at_least_as_high(one, floor));
  // One component more, one less: not comparable, and so not as high.
  auto mixed = floor;
  mixed.tdx_components->at(0) = 4;
  mixed.tdx_components->at(1) = 0;
  EXPECT_FALSE(at_least_as_high(mixed, floor));
}

TEST(DerivedKey, RoundTrips) {
  DerivedKey key{*ChallengeId::parse("chal"), "disk", {}};
  key.versions.push_back({1, parsed(kWhole), from_micros(1), from_micros(2)});
  key.versions.push_back({2, parsed(R"({"any_version":true})"), from_micros(3), std::nullopt});
  const auto again = parse_derived_key(to_json(key));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(*again, key);
}

TEST(DerivedKey, RefusesWhatIsNone) {
  for (
      const auto* text :
      {R"({"challenge":"chal","purpose":"disk","versions":[]})",
       R"({"challenge":"chal","purpose":"Disk","versions":[]})",
       R"({"challenge":"chal","purpose":"disk","versions":[{"version":0,"conditions":{"any_version":true},"created":"2024-03-13T00:00:00Z"}]})",
       R"({"challenge":"chal","purpose":"disk","versions":[{"version":1,"conditions":{},"created":"2024-03-13T00:00:00Z"}]})",
       R"({"challenge":"chal","purpose":"disk","versions":[{"version":1,"conditions":{"any_version":true}}]})"}) {
    EXPECT_FALSE(parse_derived_key(*json::parse(text))) << text;
  }
}

TEST(Purpose, IsAShortId) {
  EXPECT_TRUE(valid_purpose("disk"));
  EXPECT_TRUE(valid_purpose(std::string(40, 'a')));
  for (const auto* text : {"", "Disk", "a/b", "-a"}) EXPECT_FALSE(valid_purpose(text)) << text;
  EXPECT_FALSE(valid_purpose(std::string(41, 'a')));
}

json::Value spec_with(json::Value keys) {
  auto value = *json::parse(R"({"challenge":"keyword-search",
    "image_digest":"sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"})");
  value.set("derived_keys", std::move(keys));
  return value;
}

TEST(ChallengeSpecWithKeys, IsAnotherSpecification) {
  const auto with = parse_challenge_spec(spec_with(json::Array{"disk", "backup"}));
  ASSERT_TRUE(with) << with.error().text();
  EXPECT_EQ(with->derived_keys, (std::vector<std::string>{"disk", "backup"}));
  EXPECT_EQ(*parse_challenge_spec(to_json(*with)), *with);
  auto without = *with;
  without.derived_keys.clear();
  EXPECT_NE(encode(*with), encode(without));
  EXPECT_EQ(to_json(without).find("derived_keys"), nullptr);
  // What a version is named after is what it was before there were derived keys.
  EXPECT_EQ(codec::to_hex(encode(without)).substr(0, 42), "8972636c6f69737465722f76657273696f6e2f316e");
  EXPECT_EQ(codec::to_hex(encode(*with)).substr(0, 42), "8a72636c6f69737465722f76657273696f6e2f316e");
  EXPECT_TRUE(codec::to_hex(encode(*with)).ends_with("82646469736b666261636b7570"));
}

TEST(ChallengeSpecWithKeys, RefusesBadPurposes) {
  const std::pair<json::Value, Errc> cases[] = {
      {json::Array{"disk", "disk"}, Errc::invalid_argument},
      {json::Array{"Disk"}, Errc::invalid_argument},
      {json::Array{1}, Errc::invalid_argument},
      {json::Array{std::string(41, 'a')}, Errc::invalid_argument},
      {"disk", Errc::malformed},
      {json::Array{"a", "b", "c", "d", "e", "f", "g", "h", "i"}, Errc::limit_exceeded}};
  for (const auto& [keys, code] : cases) {
    const auto spec = parse_challenge_spec(spec_with(keys));
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().code(), code) << spec.error().text();
  }
}

}  // namespace
}  // namespace cloister::model
