#include "cloister/codec/toml.hpp"

#include <gtest/gtest.h>

namespace cloister::codec {
namespace {

constexpr TomlLimits kSmall{.bytes = 1000, .depth = 4, .marks = 30};

Errc refused(std::string_view text) { return check_toml(text, kSmall).error().code(); }

TEST(TomlShape, IsThatOfOrdinaryDocuments) {
  for (const auto* text : {"", "a = 1", "a.b.c = 1.5\nd.e.f.g = [1, 2]\n", "[a.b]\nc = {d = 'x', e.f = \"y\"}\n[[a.b]]\n[[a.b]]\n",
                           "a = [1.0, 2.0, 3.0, 4.0, 5.0]", "a = 07:32:00.5\r\nb = 1\r\n", "# a.b.c.d.e.f [[[[[[\na = 1", "a = ''\nb = \"\""}) {
    EXPECT_TRUE(check_toml(text, kSmall).ok()) << text;
  }
}

TEST(TomlShape, CountsLevelsOfNamesAndOfValues) {
  for (const auto* text : {"a.b.c.d.e.f = 1", "[a.b.c.d.e]", "[[a.b.c.d]]", "a = [[[[[]]]]]", "a = {b={c={d={e={}}}}}", "a = {b.c = {d.e = {}}}",
                           "a . b . c . d . e . f = 1", "'a'.\"b\".c.d.e.f = 1", "[a]\nb.c.d.e.f.g = 1", "a = [\n[\n[\n[\n[\n1]]]]]",
                           "a = [{b.c.d=1}, {b.c.d.e=1}]"}) {
    EXPECT_EQ(refused(text), Errc::limit_exceeded) << text;
  }
  EXPECT_TRUE(check_toml("[a.b.c.d]\ne.f.g.h.i = 1", kSmall).ok());
  EXPECT_EQ(check_toml("\n\na = [[[[[", kSmall).error().detail(), "TOML: line 3: at most 4 levels expected");
}

TEST(TomlShape, CountsNothingInTextsAndComments) {
  for (const auto* text : {R"(a = "b.c.d.e.f.g\".h.i.j.k.l")", R"(a = 'b.c.d.e.f.g.h\')", "a = '''\nb.c.d.e.f.g''h.i''''' # j.k.l.m.n.o",
                           "a = \"\"\"\n[[[[[[\\\"\"\"\\\\\"\"\"\"\"", "a = '#' # 'b.c.d.e.f.g"}) {
    EXPECT_TRUE(check_toml(text, kSmall).ok()) << text;
  }
}

TEST(TomlShape, CountsAgainWhereTextsAndCommentsEnd) {
  for (const auto* text : {"a = 'x' # y\nb.c.d.e.f.g = 1", "a = '''x'''''\nb.c.d.e.f.g = 1", "a = \"x\\\\\"\nb.c.d.e.f.g = 1", "''.b.c.d.e.f = 1",
                           "a = \"\"\"x\\\"\"\"\"\"\"\nb.c.d.e.f.g = 1", "a = '\\'\nb.c.d.e.f.g = 1"}) {
    EXPECT_EQ(refused(text), Errc::limit_exceeded) << text;
  }
}

TEST(TomlShape, HasNoMoreSeparatorsThanAllowed) {
  std::string list = "a = [";
  for (int i = 0; i < 27; ++i) list += "1,";
  EXPECT_TRUE(check_toml(list + "]", kSmall).ok());
  EXPECT_EQ(refused(list + ",]"), Errc::limit_exceeded);
  EXPECT_EQ(refused(std::string(1001, '\n')), Errc::limit_exceeded);
  EXPECT_TRUE(check_toml(std::string(1000, '\n'), kSmall).ok());
}

TEST(TomlShape, EndsItsTextsAndBrackets) {
  for (const auto* text : {"a = 'x", "a = 'x\n'", "a = \"x\\\"", "a = '''x''", "a = \"\"\"x\\\"\"\"", "a = [", "a = ]", "a = {}}", "a = \"\\"}) {
    EXPECT_EQ(refused(text), Errc::malformed) << text;
  }
}

TEST(TomlShape, IsFoundAtAnyDepthWithoutRecursion) {
  std::string deep = "a";
  for (int i = 0; i < 1'000'000; ++i) deep += ".a";
  const TomlLimits all{.bytes = SIZE_MAX, .depth = SIZE_MAX, .marks = SIZE_MAX};
  EXPECT_TRUE(check_toml(deep, all).ok());
  EXPECT_EQ(check_toml(std::string(1'000'000, '['), all).error().code(), Errc::malformed);
}

}  // namespace
}  // namespace cloister::codec
