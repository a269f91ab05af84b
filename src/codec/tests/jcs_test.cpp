#include "cloister/codec/jcs.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

namespace cloister::codec::json {
namespace {

std::string canonical_of(std::string_view text) { return canonical(parse(text).value()).value(); }

// RFC 8785 section 3.2.2.
TEST(Jcs, WritesTheExampleOfTheRfc) {
  EXPECT_EQ(canonical_of(R"({
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  })"),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
            "\"string\":\"\u20ac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

// Section 3.2.3: by UTF-16 code units, in which the emoji comes before the Hebrew letter.
TEST(Jcs, SortsMembersByCodeUnits) {
  const auto sorted = parse(canonical_of(R"({
    "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
  })")).value();
  std::vector<std::string> order;
  for (const auto& [name, value] : *sorted.as_object()) order.push_back(*value.as_string());
  EXPECT_EQ(order, (std::vector<std::string>{"Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign",
                                             "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh"}));
  EXPECT_EQ(canonical_of(R"({"b":{"y":1,"x":2},"a":[{"d":1,"c":2}],"":0,"aa":1,"A":2})"),
            R"({"":0,"A":2,"a":[{"c":2,"d":1}],"aa":1,"b":{"x":2,"y":1}})");
  EXPECT_EQ(canonical_of("{\"\\uffff\":1,\"\\ud7ff\":2,\"\\ue000\":3,\"\\udbff\\udfff\":4,\"\\ud800\\udc00\":5}"),
            "{\"\xED\x9F\xBF\":2,\"\xF0\x90\x80\x80\":5,\"\xF4\x8F\xBF\xBF\":4,\"\xEE\x80\x80\":3,\"\xEF\xBF\xBF\":1}");
}

// Appendix B.
TEST(Jcs, WritesNumbersAsEcmaScript) {
  struct Case {
    std::uint64_t bits;
    std::string_view text;
  };
  for (const auto& [bits, text] : {
           Case{0x0000000000000000, "0"},
           Case{0x8000000000000000, "0"},
           Case{0x0000000000000001, "5e-324"},
           Case{0x8000000000000001, "-5e-324"},
           Case{0x7fefffffffffffff, "1.7976931348623157e+308"},
           Case{0xffefffffffffffff, "-1.7976931348623157e+308"},
           Case{0x4340000000000000, "9007199254740992"},
           Case{0xc340000000000000, "-9007199254740992"},
           Case{0x4430000000000000, "295147905179352830000"},
           Case{0x44b52d02c7e14af5, "9.999999999999997e+22"},
           Case{0x44b52d02c7e14af6, "1e+23"},
           Case{0x44b52d02c7e14af7, "1.0000000000000001e+23"},
           Case{0x444b1ae4d6e2ef4e, "999999999999999700000"},
           Case{0x444b1ae4d6e2ef4f, "999999999999999900000"},
           Case{0x444b1ae4d6e2ef50, "1e+21"},
           Case{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
           Case{0x3eb0c6f7a0b5ed8d, "0.000001"},
           Case{0x41b3de4355555553, "333333333.3333332"},
           Case{0x41b3de4355555554, "333333333.33333325"},
           Case{0x41b3de4355555555, "333333333.3333333"},
           Case{0x41b3de4355555556, "333333333.3333334"},
           Case{0x41b3de4355555557, "333333333.33333343"},
           Case{0xbecbf647612f3696, "-0.0000033333333333333333"},
           Case{0x43143ff3c1cb0959, "1424953923781206.2"},
       }) {
    EXPECT_EQ(canonical(Value{std::bit_cast<double>(bits)}).value(), text);
  }
  EXPECT_EQ(canonical_of("[10,-1,1e21,123456789012345680000,0.1,1e-7,100]"),
            "[10,-1,1e+21,123456789012345680000,0.1,1e-7,100]");
}

TEST(Jcs, RefusesNumbersThatWouldBeRounded) {
  EXPECT_EQ(canonical_of("[9007199254740992,-9007199254740992,9007199254740994]"),
            "[9007199254740992,-9007199254740992,9007199254740994]");
  for (const auto* text : {"9007199254740993", "-9007199254740993", "9223372036854775807", "18446744073709551615"}) {
    EXPECT_EQ(canonical(parse(text).value()).error().code(), Errc::unsupported) << text;
  }
  EXPECT_EQ(canonical_of("-9223372036854775808"), "-9223372036854776000");
  EXPECT_EQ(canonical_of("9223372036854775808"), "9223372036854776000");
  EXPECT_EQ(canonical(Value{std::numeric_limits<double>::infinity()}).error().code(), Errc::unsupported);
  EXPECT_EQ(canonical(Value{std::numeric_limits<double>::quiet_NaN()}).error().code(), Errc::unsupported);
}

TEST(Jcs, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(canonical(Value{"\xFF"}).error().code(), Errc::malformed);
  EXPECT_EQ(canonical(Object{{"\xFF", 1}}).error().code(), Errc::malformed);
  EXPECT_EQ(canonical(Array{Object{{"a", "\xC0"}}}).error().code(), Errc::malformed);
}

// A JSON text inside a text: what key brokers hash.
TEST(Jcs, EscapesATextThatHoldsJson) {
  EXPECT_EQ(canonical(Object{{"nonce", "AA=="}, {"additional-evidence", R"({"sampledevice":{"svn":"2"}})"}}).value(),
            R"({"additional-evidence":"{\"sampledevice\":{\"svn\":\"2\"}}","nonce":"AA=="})");
}

}  // namespace
}  // namespace cloister::codec::json
