#include <gtest/gtest.h>

#include <array>

#include "cloister/rego/policy.hpp"

namespace cloister::rego {
namespace {

/// What compiling says of it.
std::string refusal(const std::string& rules) {
  const std::array modules{Module{"p.rego", "package policy\nimport rego.v1\n" + rules}};
  const auto policy = CompiledPolicy::compile(modules, std::array{std::string{"data.policy.allow"}});
  return policy ? std::string{} : policy.error().text();
}

struct Refused {
  const char* name;
  std::string rules;  // from line 3 on
  std::string says;
};
void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.name; }

class RegoRefusals : public testing::TestWithParam<Refused> {};

TEST_P(RegoRefusals, HaveLineAndColumn) { EXPECT_EQ(refusal(GetParam().rules), "policy_invalid: p.rego:" + GetParam().says); }

INSTANTIATE_TEST_SUITE_P(
    Functions, RegoRefusals,
    testing::Values(
        Refused{"network", "allow if http.send({\"method\": \"get\"})", "3:10: there is no function http.send"},
        Refused{"clock", "allow if {\n  true\n  time.now_ns() > 1\n}", "5:3: there is no function time.now_ns"},
        Refused{"misspelt", "allow if startwith(input.a, \"b\")", "3:10: there is no function startwith"},
        Refused{"in_a_comprehension", "allow := [x | some y in input.l; x := lowr(y)]", "3:39: there is no function lowr"},
        Refused{"of_another_module", "allow if data.other.f(1)", "3:10: there is no function data.other.f"},
        Refused{"a_value", "f := 1\nallow if f(1)", "4:10: there is no function f"},
        Refused{"too_many", "allow if count([1], 2, 3)", "3:10: count takes 1 argument, not 3"},
        Refused{"too_few", "allow if startswith(\"a\")", "3:10: startswith takes 2 arguments, not 1"},
        Refused{"too_few_of_ours", "allow if query_reference_value()", "3:10: query_reference_value takes 1 argument, not 0"},
        Refused{"too_few_of_a_function", "f(x, y) := x\nallow if f(1)", "4:10: f takes 2 arguments, not 1"},
        Refused{"not_plain_name", "f(x) := 1\nallow if data.policy[\"f\"](1)", "4:10: a function is called by its plain name"},
        Refused{"two_arities", "f(x) := 1\nf(x, y) := 1\nallow if f(1)",
                "4:1: data.policy.f is a function of 2 arguments here, and a function of 1 argument before"}),
    [](const auto& one) { return std::string{one.param.name}; });

INSTANTIATE_TEST_SUITE_P(
    Circles, RegoRefusals,
    testing::Values(
        Refused{"of_a_rule", "allow if allow", "3:10: recursion: data.policy.allow needs itself"},
        Refused{"of_two_rules", "allow if a\na if {\n  allow\n}", "5:3: recursion: data.policy.allow needs itself, by data.policy.a"},
        Refused{"by_the_whole_path", "allow if data.policy.allow", "3:10: recursion: data.policy.allow needs itself"},
        Refused{"by_the_package", "allow if count(data.policy) > 0", "3:16: recursion: data.policy.allow needs itself"},
        Refused{"by_any_name", "allow if data.policy[input.name]", "3:10: recursion: data.policy.allow needs itself"},
        Refused{"of_an_object", "a.b := 1\na[x] := a.b if some x in input.l\nallow if a", "4:9: recursion: data.policy.a needs itself"},
        Refused{"of_a_set", "s contains x if some x in s\nallow if s", "3:27: recursion: data.policy.s needs itself"},
        Refused{"in_a_comprehension", "allow := [1 | allow]", "3:15: recursion: data.policy.allow needs itself"},
        Refused{"in_an_else", "allow := 1 if input.a else := allow", "3:31: recursion: data.policy.allow needs itself"},
        Refused{"of_functions", "f(x) := g(x)\ng(x) := f(x)\nallow if f(1)", "4:9: recursion: data.policy.f needs itself, by data.policy.g"},
        Refused{"of_a_function_and_a_rule", "f(x) := r\nr := f(1)\nallow if r", "4:6: recursion: data.policy.f needs itself, by data.policy.r"},
        Refused{"by_with", "f(x) := y if y := count(x) with count as f\nallow if f(1)", "3:42: recursion: data.policy.f needs itself"}),
    [](const auto& one) { return std::string{one.param.name}; });

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    Texts, RegoRefusals,
    testing::Values(
        Refused{"long_number", "allow if input.a > " + repeated("9", 513), "3:20: invalid number. serde_json cannot parse number: out of range"},
        Refused{"exponent", "allow if input.a > 1e1000000000", "3:20: invalid number. serde_json cannot parse number: out of range"},
        Refused{"long_reference", "allow if input" + repeated(".a", 257), "3:525: more than 256 names in one reference"}),
    [](const auto& one) { return std::string{one.param.name}; });

TEST(RegoChecks, WhatIsNoCircleIsTaken) {
  for (const auto* rules : {
           "allow if a.b\na.b if a.c\na.c if input.x",                            // parts of an object
           "v[\"x\"] := v[\"y\"]\nv[\"y\"] := 1\nallow if v.x",
           "a := 1\nb := 2 if { a := 3; a == 3 }\nallow if b",                     // a name of its own
           "f(allow) := allow\nallow if f(1)",
           "allow if b\nb if every a in input.l { a == 1 }\na := b",
           "allow if input.allow",
           "f(x) := g(x) + g(2)\ng(x) := x\nallow if f(1) == f(g(1))",
           "default f(_) := 1\nf(x) := 2 if x > 1\nallow if f(1)",
       }) {
    EXPECT_EQ(refusal(rules), "") << rules;
  }
}

TEST(RegoChecks, ManyDefinitionsWithManyNeedsAreTaken) {
  std::string rules = "allow if a\n";
  for (int i = 0; i < 250; ++i) rules += "a if {\n" + repeated("b; b.c; f(b)\n", 40) + "}\n";
  for (int i = 0; i < 250; ++i) rules += "b := 1\n";
  EXPECT_EQ(refusal(rules + "f(x) := x\n"), "");
  std::string others = "allow if {\n";
  for (int i = 0; i < 20'000; ++i) others += "a.x" + std::to_string(i) + (i % 20 == 19 ? "\n" : "; ");
  others += "}\n";
  for (int i = 0; i < 500; ++i) others += "a.y" + std::to_string(i) + " := 1\n";
  EXPECT_EQ(refusal(others), "");
}

TEST(RegoChecks, FunctionsThatExistAreTaken) {
  for (const auto* rules : {"allow if { split(input.a, \"/\", [b, c]); b == c }", "allow if { count([1], n); n == 1 }", "allow if print(1, 2, 3)",
                            "f(x) := x\nallow if data.policy.f(1)", "allow if \"a\" in query_reference_value(\"x\")",
                            "allow if { x := 1e300; input.a < x }", "allow if input.a.b.c.d[\"e\"][0].f"}) {
    EXPECT_EQ(refusal(rules), "") << rules;
  }
}

TEST(RegoChecks, FunctionsOfOtherModulesAreFound) {
  const auto says = [](const std::string& call) {
    const std::array modules{Module{"a.rego", "package a.b\nf(x) := x"},
                             Module{"p.rego", "package policy\nimport data.a.b\nimport data.a.b as other\nallow := " + call}};
    const auto policy = CompiledPolicy::compile(modules, std::array{std::string{"data.policy.allow"}});
    return policy ? std::string{} : policy.error().text();
  };
  EXPECT_EQ(says("b.f(1)"), "");
  EXPECT_EQ(says("other.f(1)"), "");
  EXPECT_EQ(says("data.a.b.f(1)"), "");
  EXPECT_EQ(says("b.g(1)"), "policy_invalid: p.rego:4:10: there is no function b.g");
  EXPECT_EQ(says("f(1)"), "policy_invalid: p.rego:4:10: there is no function f");
}

}  // namespace
}  // namespace cloister::rego
