#include "cloister/codec/toml.hpp"

#include <gtest/gtest.h>

namespace cloister::codec {
namespace {

std::string read(std::string_view text, const TomlLimits& limits = {}) {
  const auto value = parse_toml(text, limits);
  return value ? json::write(*value) : std::string{to_string(value.error().code())};
}
std::string value_of(std::string_view written) { return read("x = " + std::string{written} + "\n"); }
std::string of(std::string_view json) { return R"({"x":)" + std::string{json} + "}"; }

// TOML 1.0, section by section.
TEST(Toml, ReadsLinesAndComments) {
  EXPECT_EQ(read(""), "{}");
  EXPECT_EQ(read("# a\n\n \t# b\r\nx = 1 # c\r\ny=2"), R"({"x":1,"y":2})");
  for (const auto* wrong : {"x = 1 y = 2", "x", "x =", "x = 1\ry = 2", "# \x01\n", "= 1", "x = # 1", "]", "\x01"}) EXPECT_EQ(read(wrong), "malformed") << wrong;
  EXPECT_EQ(read("\xFF"), "malformed");
  EXPECT_EQ(parse_toml("a = 1\nb = 2\nc 3").error().detail(), "TOML: line 3: '=' expected after c");
}

TEST(Toml, ReadsNames) {
  EXPECT_EQ(read("a-b_1 = 1\n\"c d\" = 2\n'e\"' = 3\n\"\" = 4\n1234 = 5\n"), R"({"":4,"1234":5,"a-b_1":1,"c d":2,"e\"":3})");
  EXPECT_EQ(read("a.b = 1\na . \"c.d\" = 2\n3.14 = 4"), R"({"3":{"14":4},"a":{"b":1,"c.d":2}})");
  for (const auto* wrong : {"a..b = 1", ".a = 1", "a. = 1", "\"\"\"a\"\"\" = 1", "a b = 1", "\xC3\xA9 = 1"}) EXPECT_EQ(read(wrong), "malformed") << wrong;
}

TEST(Toml, DefinesNothingTwice) {
  for (const auto* twice :
       {"a = 1\na = 2", "a = 1\na.b = 2", "a.b = 1\na = 2", "[a]\n[a]", "[a]\nb = 1\n[a.b]", "a = 1\n[a]", "a = []\n[[a]]", "[[a]]\n[a]", "[a]\n[[a]]",
        "[a.b]\n[[a]]", "a = {}\n[a.b]", "a = {b = 1}\na.c = 2", "[a]\nb.c = 1\n[a.b]", "[a.b]\n[a]\nb.c = 1", "[[a]]\n[[a.b]]\n[a.b]", "[[a]]\n[b]\n[a]\n",
        "a = {b = 1, b = 2}", "a = {b.c = 1, b = 2}", "a = {b = {}, b.c = 1}", "[a]\nb.c = 1\n[d]\n[a.b]\ne = 1", "[[a.b]]\n[a]\nb.c = 1",
        "a.b = 1\n[a]", "'a' = 1\n\"a\" = 2", "[a]\nb = []\n[[a.b]]"}) {
    EXPECT_EQ(read(twice), "duplicate_member") << twice;
  }
}

TEST(Toml, ReadsTables) {
  EXPECT_EQ(read("[a]\nb = 1\n[c.d]\ne = 2\n[c]\nf = 3\n[ g . \"h i\" ] # x\n"), R"({"a":{"b":1},"c":{"d":{"e":2},"f":3},"g":{"h i":{}}})");
  EXPECT_EQ(read("[a]\nb.c = 1\nb.d = 2\n[a.b.e]\nf = 3\n"), R"({"a":{"b":{"c":1,"d":2,"e":{"f":3}}}})");
  EXPECT_EQ(read("[[a]]\nb = 1\n[[a]]\n[a.c]\nd = 2\n[[a.e]]\n[[a.e]]\nf = 3\n"), R"({"a":[{"b":1},{"c":{"d":2},"e":[{},{"f":3}]}]})");
  EXPECT_EQ(read("[a.b]\n[a]\nc.d = 1\n"), R"({"a":{"b":{},"c":{"d":1}}})");
  EXPECT_EQ(read("a = {b = 1, c.d = 2, c.e = [{}], \"f\" = {g = 'h'}}"), R"({"a":{"b":1,"c":{"d":2,"e":[{}]},"f":{"g":"h"}}})");
  for (const auto* wrong : {"[", "[]", "[[]]", "[a", "[a]]", "[[a]", "[ [a]]", "[[a] ]", "[a] b = 1", "[=1", "[[=", "[a.]", "[.a]", "[\n", "a = {b = 1,}",
                            "a = {b = 1\n}", "a = {,}", "a = {b}", "a = {b = }", "a = {", "a = {b = 1 c = 2}", "a = {=1}"}) {
    EXPECT_EQ(read(wrong), "malformed") << wrong;
  }
}

TEST(Toml, ReadsArrays) {
  EXPECT_EQ(value_of("[1, 'a', [ ], {b = 2},]"), of(R"([1,"a",[],{"b":2}])"));
  EXPECT_EQ(value_of("[ # a\n 1 # b\n , # c\r\n 2,\n # d\n]"), of("[1,2]"));
  for (const auto* wrong : {"[", "[1", "[1,", "[,]", "[1,,2]", "[1 2]", "[}", "[{]", "[1}", "[=]", "[1]]"}) EXPECT_EQ(value_of(wrong), "malformed") << wrong;
}

TEST(Toml, ReadsNumbersAndFlags) {
  for (const auto& [written, is] : {std::pair{"0", "0"}, {"+0", "0"}, {"-17", "-17"}, {"1_000", "1000"}, {"0xDEAD_beef", "3735928559"}, {"0o755", "493"},
                                    {"0b1_01", "5"}, {"9223372036854775807", "9223372036854775807"}, {"-9223372036854775808", "-9223372036854775808"},
                                    {"3.5", "3.5"}, {"-0.25", "-0.25"}, {"5e+2", "500.0"}, {"1E-01", "0.1"}, {"1_0.2_5e1", "102.5"}, {"true", "true"}, {"false", "false"}}) {
    const auto value = parse_toml("x = " + std::string{written});
    ASSERT_TRUE(value.ok()) << written << value.error().text();
    EXPECT_EQ(*value, json::parse(of(is)).value()) << written;
  }
  for (const auto* wrong : {"01", "-01", "1_", "_1", "1__0", "0x", "0x_1", "+0x1", "0xg", "0o8", "0b2", "1.", ".5", "1.e1", "1e", "1e+", "1e1.5", "1._5", "1_.5",
                            "--1", "+-1", "True", "truefalse", "a", "1a", "00", "0_0", "1e_1", "0X1", "01.5", "", "+", "1+1", "0x-1"}) {
    EXPECT_EQ(value_of(wrong), "malformed") << wrong;
  }
  for (const auto* beyond : {"inf", "-inf", "+nan", "9223372036854775808", "0xFFFFFFFFFFFFFFFF", "1e400"}) EXPECT_EQ(value_of(beyond), "unsupported") << beyond;
}

TEST(Toml, ReadsMoments) {
  for (const auto& [written, is] : {std::pair{"1979-05-27T07:32:00Z", "1979-05-27T07:32:00Z"}, {"1979-05-27t00:32:00.999999-07:00", "1979-05-27T00:32:00.999999-07:00"},
                                    {"1979-05-27 07:32:00z", "1979-05-27T07:32:00Z"}, {"1979-05-27T07:32:00", "1979-05-27T07:32:00"}, {"1979-05-27", "1979-05-27"},
                                    {"07:32:00", "07:32:00"}, {"00:32:00.5", "00:32:00.5"}, {"2000-02-29", "2000-02-29"}}) {
    EXPECT_EQ(value_of(written), of('"' + std::string{is} + '"')) << written;
  }
  EXPECT_EQ(value_of("1979-05-27 # 07:32:00"), of(R"("1979-05-27")"));
  for (const auto* wrong : {"1979-5-27", "1979-13-01", "1979-00-01", "1979-02-30", "1900-02-29", "0000-01-01", "1979-05-27T", "1979-05-27T07:32", "07:32", "24:00:00",
                            "00:60:00", "00:00:60", "00:00:00.", "00:00:00Z", "1979-05-27T07:32:00+24:00", "1979-05-27T07:32:00+00:60", "1979-05-27T07:32:00+0000",
                            "1979-05-27  07:32:00", "1979-05-27x", "7:32:00", "1979-05-27Z"}) {
    EXPECT_EQ(value_of(wrong), "malformed") << wrong;
  }
}

TEST(Toml, ReadsTextsInTheirFourForms) {
  const auto text_of = [](std::string_view written) {
    const auto value = parse_toml("x = " + std::string{written} + "\n");
    return value ? *value->find("x")->as_string() : std::string{to_string(value.error().code())};
  };
  EXPECT_EQ(text_of(R"("a\"\\\b\t\n\f\r\u00e9\U0001F600")"), "a\"\\\b\t\n\f\r\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(text_of(R"('a\"b')"), "a\\\"b");
  EXPECT_EQ(text_of("''"), "");
  EXPECT_EQ(text_of("\"\"\"\na\n b\"\"\""), "a\n b");
  EXPECT_EQ(text_of("\"\"\"a \\\n   b\"\"\""), "a b");
  EXPECT_EQ(text_of("\"\"\"a\\  \r\n\n  b\\\n\"\"\""), "ab");
  EXPECT_EQ(text_of("\"\"\"a\"\"\"\"\""), "a\"\"");
  EXPECT_EQ(text_of("'''\r\na\r\nb''''"), "a\r\nb'");
  for (const auto* wrong : {"\"a", "'a", "'''a''", "\"\"\"a", "\"a\nb\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\U00110000\"", "'a' b", "'''a'''''' ", "'a\x01'",
                            "'''a\x01'''", "\"\"\"a\r\"\"\"", "\"\\\n\"", "\"\"\"\\ a\"\"\"", "\"\\"}) {
    EXPECT_EQ(text_of(wrong), "malformed") << wrong;
  }
}

TEST(Toml, IsBoundedInDepth) {
  const TomlLimits four{.depth = 4};
  for (const auto* good : {"a.b.c.d = 1", "[a.b.c.d]", "[[a.b.c]]", "[a.b]\nc.d = 1", "a = [[[1]]]", "a = {b = {c = 1}}", "a = {b.c = [1]}"}) {
    EXPECT_TRUE(parse_toml(good, four).ok()) << good << parse_toml(good, four).error().text();
  }
  for (const auto* deep : {"a.b.c.d.e = 1", "[a.b.c.d.e]", "[[a.b.c.d]]", "[a.b.c]\nd.e = 1", "a = [[[[1]]]]", "a = {b={c={d={e=1}}}}", "a.b = {c.d = {e = 1}}",
                           "[[a]]\n[[a.b]]\n[a.b.c]", "'a'.\"b\".c.d.e = 1", "[a]\nb.c.d.e = 1", "a = {b.c = {d.e = {}}}"}) {
    EXPECT_EQ(read(deep, four), "limit_exceeded") << deep;
  }
  const auto repeated = [](std::string_view what) {
    std::string out;
    for (int i = 0; i < 100'000; ++i) out += what;
    return out;
  };
  const TomlLimits long_ones{.bytes = SIZE_MAX};
  for (const auto& endless : {repeated("a.") + "a = 1", "[" + repeated("a.") + "a]", "[[" + repeated("a.") + "a]]", "a = " + repeated("["), "a = " + repeated("{a=")}) {
    EXPECT_EQ(read(endless, long_ones), "limit_exceeded") << endless.substr(0, 20);
  }
}

TEST(Toml, IsBoundedInSizeAndValues) {
  const TomlLimits small{.bytes = 100, .values = 5};
  EXPECT_EQ(read("a = 1\nb = [2, 3]\nc = 4", small), R"({"a":1,"b":[2,3],"c":4})");
  EXPECT_EQ(read("a = 1\nb = [2, 3]\nc = 4\nd = 5", small), "limit_exceeded");
  EXPECT_EQ(read("[a]\n[b]\n[c]\n[d]\n[e]\n[f]", small), "limit_exceeded");
  EXPECT_EQ(read("a.b.c.d.e.f = 1", small), "limit_exceeded");
  EXPECT_EQ(read(std::string(100, '\n'), small), "{}");
  EXPECT_EQ(read(std::string(101, '\n'), small), "limit_exceeded");
}

}  // namespace
}  // namespace cloister::codec
