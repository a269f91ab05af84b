#include "cloister/codec/json.hpp"

#include <gtest/gtest.h>

namespace cloister::codec::json {
namespace {

Errc refusal(std::string_view text, const Limits& limits = {}) {
  const auto value = parse(text, limits);
  return value ? Errc::internal : value.error().code();
}

TEST(JsonParser, ReadsEveryKindOfValue) {
  const auto value = parse(R"( {"a":[1,-2,3.5,true,false,null,"x"],"b":{}} )");
  ASSERT_TRUE(value) << value.error().text();
  const auto& items = *value->find("a")->as_array();
  EXPECT_EQ(items[0].as_int(), 1);
  EXPECT_EQ(items[1].as_int(), -2);
  EXPECT_EQ(items[2].as_double(), 3.5);
  EXPECT_TRUE(*items[3].as_bool());
  EXPECT_FALSE(*items[4].as_bool());
  EXPECT_TRUE(items[5].is_null());
  EXPECT_EQ(*items[6].as_string(), "x");
  EXPECT_TRUE(value->find("b")->as_object()->empty());
  EXPECT_EQ(value->find("c"), nullptr);
}

TEST(JsonParser, KeepsIntegersExact) {
  EXPECT_EQ(parse("9223372036854775807")->as_int(), INT64_MAX);
  EXPECT_EQ(parse("-9223372036854775808")->as_int(), INT64_MIN);
  EXPECT_EQ(parse("18446744073709551615")->as_uint(), UINT64_MAX);
  EXPECT_FALSE(parse("18446744073709551615")->as_int());
  EXPECT_FALSE(parse("18446744073709551616")->as_uint());
  EXPECT_EQ(parse("18446744073709551616")->as_double(), 18446744073709551616.0);
  EXPECT_FALSE(parse("-1")->as_uint());
  EXPECT_FALSE(parse("1.0")->as_int());
}

TEST(JsonParser, RefusesNumbersOutsideTheGrammar) {
  for (const auto* text :
       {"01", "-", "-01", "+1", ".5", "1.", "1.e3", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "-Infinity"}) {
    EXPECT_FALSE(parse(text)) << text;
  }
  EXPECT_EQ(refusal("1e999"), Errc::unsupported);
}

TEST(JsonParser, RefusesBrokenStructure) {
  for (const auto* text : {"",
                           " ",
                           "[",
                           "]",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{",
                           "{}}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{1:1}",
                           "{\"a\":1 \"b\":2}",
                           "tru",
                           "nul",
                           "True",
                           "'a'",
                           "1 2",
                           "[1]x",
                           "/**/1",
                           "\f1"}) {
    EXPECT_FALSE(parse(text)) << text;
  }
  EXPECT_EQ(refusal("{} {}"), Errc::trailing_bytes);
  EXPECT_EQ(refusal("{\"a\":"), Errc::truncated);
}

TEST(JsonParser, RefusesDuplicateMembers) {
  EXPECT_EQ(refusal(R"({"a":1,"a":1})"), Errc::duplicate_member);
  EXPECT_EQ(refusal(R"({"a":1,"\u0061":2})"), Errc::duplicate_member);
  EXPECT_EQ(refusal(R"([{"x":{"a":1,"b":2,"a":3}}])"), Errc::duplicate_member);
  std::string wide = "{";
  for (int i = 0; i < 1000; ++i) wide += '"' + std::to_string(i) + "\":0,";
  EXPECT_TRUE(parse(wide + "\"last\":0}"));
  EXPECT_EQ(refusal(wide + "\"500\":0}"), Errc::duplicate_member);
}

TEST(JsonParser, DecodesEscapes) {
  const auto value = parse(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\udc08\u0000")");
  ASSERT_TRUE(value) << value.error().text();
  const std::string expected{"\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\x88\0", 19};
  EXPECT_EQ(*value->as_string(), expected);
}

TEST(JsonParser, RefusesBadStrings) {
  for (const auto* text : {R"("\ud800")", R"("\udc00")", R"("\ud800x")", R"("\ud800\u0041")", R"("\ud800\ud800")",
                           R"("\u12")", R"("\u12g4")", R"("\x41")", R"("\)", R"(")", R"("abc)", "\"\n\"", "\"\t\"",
                           "\"\x01\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "\"\xFF\"", "\xEF\xBB\xBF{}"}) {
    EXPECT_FALSE(parse(text)) << text;
  }
  EXPECT_FALSE(parse(std::string_view{"\"\0\"", 3}));
}

TEST(JsonParser, KeepsTheLimits) {
  EXPECT_TRUE(parse("[[1]]", {.depth = 2}));
  EXPECT_EQ(refusal("[[[1]]]", {.depth = 2}), Errc::limit_exceeded);
  EXPECT_EQ(refusal(R"({"a":{"b":{}}})", {.depth = 2}), Errc::limit_exceeded);
  EXPECT_TRUE(parse("[1,2]", {.values = 3}));
  EXPECT_EQ(refusal("[1,2,3]", {.values = 3}), Errc::limit_exceeded);
  EXPECT_TRUE(parse("1234", {.bytes = 4}));
  EXPECT_EQ(refusal("12345", {.bytes = 4}), Errc::limit_exceeded);
  EXPECT_EQ(refusal(std::string(1'000'000, '[')), Errc::limit_exceeded);
}

TEST(JsonValue, RawIsTheExactText) {
  const std::string text = R"( {"tcbInfo" : {"a": [1,  2]} , "signature":"ab"} )";
  const auto value = parse(text);
  ASSERT_TRUE(value);
  EXPECT_EQ(value->find("tcbInfo")->raw(text), R"({"a": [1,  2]})");
  EXPECT_EQ(value->find("tcbInfo")->find("a")->raw(text), "[1,  2]");
  EXPECT_EQ(value->find("signature")->raw(text), "\"ab\"");
  EXPECT_EQ(value->raw(text), text.substr(1, text.size() - 2));
  EXPECT_EQ(Value{5}.raw(text), "");
}

TEST(JsonValue, SetsMembersInOrder) {
  Value value{Object{}};
  value.set("b", 1).set("a", "x").set("b", 2);
  EXPECT_EQ(write(value), R"({"b":2,"a":"x"})");
}

TEST(JsonWriter, WritesWhatParsesToTheSameValue) {
  Value value{Object{}};
  value.set("text", std::string{"\"\\/\b\f\n\r\t\x01\x7F\0 \xC3\xA9", 14});
  value.set("numbers", Array{std::int64_t{INT64_MIN}, std::uint64_t{UINT64_MAX}, 0.1, 5.0, -0.0, 1e300, 5e-324});
  value.set("others", Array{nullptr, true, false, Array{}, Object{}});
  for (const auto& text : {write(value), write_pretty(value)}) {
    const auto again = parse(text);
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(*again, value) << text;
  }
}

TEST(JsonWriter, ReplacesWhatIsNoUtf8) {
  const std::string odd = "a\xFA\xC3z\xE2\x82 \xE2\x82\xAC \xED\xA0\x80\xF4\x90\x80\x80";
  const Value value = Object{{"detail", odd}};
  EXPECT_EQ(write(value), "{\"detail\":\"a\uFFFD\uFFFDz\uFFFD\uFFFD \u20AC \uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\"}");
  EXPECT_TRUE(parse(write(value)).ok());
  EXPECT_TRUE(parse(write(Object{{odd, 1}})).ok());
}

TEST(JsonWriter, IndentsForPeople) {
  Value value{Object{}};
  value.set("a", Array{1, 2}).set("b", Object{});
  EXPECT_EQ(write_pretty(value), "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}");
  EXPECT_EQ(write(value), R"({"a":[1,2],"b":{}})");
}

class JsonFields : public testing::Test {
 protected:
  const Value value = *parse(R"({"s":"x","i":5,"b":true,"h":"00ff","e":"AP8=","a":[1],"o":{"x":1},"n":null})");
  Fields fields{value, "job"};
};

TEST_F(JsonFields, ReadsTypedMembers) {
  EXPECT_EQ(fields.string("s"), "x");
  EXPECT_EQ(fields.integer("i", 0, 5), 5);
  EXPECT_TRUE(fields.boolean("b"));
  EXPECT_EQ(fields.hex("h"), (Bytes{0x00, 0xFF}));
  EXPECT_EQ(fields.hex_array<2>("h"), (ByteArray<2>{0x00, 0xFF}));
  EXPECT_EQ(fields.base64("e"), (Bytes{0x00, 0xFF}));
  EXPECT_EQ(fields.array("a").size(), 1U);
  EXPECT_EQ(fields.object("o").find("x")->as_int(), 1);
  EXPECT_TRUE(fields.any("n").is_null());
  EXPECT_TRUE(fields.finish());
}

TEST_F(JsonFields, AbsentAndNullAreNothingWhenOptional) {
  for (const auto* name : {"n", "none"}) {
    EXPECT_FALSE(fields.optional_string(name));
    EXPECT_FALSE(fields.optional_integer(name));
    EXPECT_FALSE(fields.optional_boolean(name));
    EXPECT_EQ(fields.optional_object(name), nullptr);
    EXPECT_TRUE(fields.optional_array(name).empty());
  }
  EXPECT_NE(fields.optional_any("n"), nullptr);
  EXPECT_EQ(fields.optional_any("none"), nullptr);
  EXPECT_TRUE(fields.finish_lenient());
}

TEST_F(JsonFields, NullIsNotARequiredValue) {
  EXPECT_EQ(fields.string("n"), "");
  EXPECT_EQ(fields.finish().error().code(), Errc::malformed);
}

TEST_F(JsonFields, KeepsTheFirstProblem) {
  EXPECT_EQ(fields.string("none"), "");
  EXPECT_EQ(fields.integer("s"), 0);
  const auto result = fields.finish();
  EXPECT_EQ(result.error().code(), Errc::missing_member);
  EXPECT_EQ(result.error().detail(), "job.none: required");
}

TEST_F(JsonFields, NamesTheMemberThatNobodyAskedFor) {
  EXPECT_EQ(fields.string("s"), "x");
  EXPECT_EQ(fields.finish().error().text(), "unknown_member: job.i: unknown member");
  EXPECT_EQ(fields.finish_lenient().error().code(), Errc::unknown_member);
}

TEST_F(JsonFields, RefusesIntegersOutOfRange) {
  EXPECT_EQ(fields.integer("i", 6, 9), 0);
  EXPECT_EQ(fields.finish().error().code(), Errc::malformed);
}

TEST_F(JsonFields, RefusesBytesOfTheWrongSize) {
  EXPECT_EQ(fields.hex_array<3>("h"), (ByteArray<3>{}));
  EXPECT_EQ(fields.finish().error().code(), Errc::malformed);
}

TEST(JsonFieldsOfOther, NeedsAnObject) {
  const Value value{Array{}};
  Fields fields{value, "list"};
  EXPECT_EQ(fields.string("a"), "");
  EXPECT_EQ(fields.finish().error().text(), "malformed: list: an object expected");
}

}  // namespace
}  // namespace cloister::codec::json
