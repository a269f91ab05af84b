#include "cloister/rego/policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "cloister/rego/cache.hpp"

namespace cloister::rego {
namespace {

namespace json = codec::json;
using std::chrono::milliseconds;

const std::string kAllow = "data.policy.allow";

Result<std::shared_ptr<const CompiledPolicy>> compile(std::string text, const Limits& limits = {},
                                                      const std::string& entrypoint = kAllow) {
  const std::array modules{Module{"policy.rego", std::move(text)}};
  return CompiledPolicy::compile(modules, std::array{entrypoint}, limits);
}

json::Value value(std::string_view text) {
  auto parsed = json::parse(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return *parsed;
}

/// What `data.policy.allow` is, or the error, as text.
std::string outcome(std::string text, std::string_view input = "{}", const Limits& limits = {}) {
  const auto policy = compile(std::move(text), limits);
  if (!policy) return policy.error().text();
  const auto evaluation = (*policy)->evaluate({value(input), {}, {}});
  if (!evaluation) return evaluation.error().text();
  const auto* allow = evaluation->find(kAllow);
  return allow == nullptr ? "undefined" : json::write(*allow);
}

Errc code(std::string text, const Limits& limits = {}) {
  const auto policy = compile(std::move(text), limits);
  if (!policy) return policy.error().code();
  const auto evaluation = (*policy)->evaluate({value("{}"), {}, {}});
  EXPECT_FALSE(evaluation.ok()) << json::write(evaluation->results.front().second).substr(0, 80);
  return evaluation.ok() ? Errc::internal : evaluation.error().code();
}

// --- syntax ---

TEST(RegoSyntax, V1WithoutAnImport) {
  EXPECT_EQ(outcome("package policy\ndefault allow = false\nallow if { input.a == 1 }\n", R"({"a":1})"), "true");
  EXPECT_EQ(outcome("package policy\ndefault allow = false\nallow if { input.a == 1 }\n", R"({"a":2})"), "false");
}

TEST(RegoSyntax, V1WithItsImport) {
  EXPECT_EQ(outcome("package policy\nimport rego.v1\ndefault allow := false\nallow if input.a == 1\n", R"({"a":1})"), "true");
}

TEST(RegoSyntax, V0) {
  EXPECT_EQ(outcome("package policy\nallow = true\n"), "true");
  EXPECT_EQ(outcome("package policy\ndefault allow = false\nallow { input.a == 1 }\n", R"({"a":1})"), "true");
  EXPECT_EQ(outcome("package policy\ndefault allow = false\nallow = true { input.a == 1 }\n", R"({"a":2})"), "false");
}

TEST(RegoSyntax, V1NeverFallsBackToV0WithAnotherMeaning) {
  // Under v0, "allow if" would be two rules, the first of them always true.
  const auto text = outcome("package policy\nallow if { input.a == 1 }\ndeny { input.b == 1 }\n");
  EXPECT_EQ(text.substr(0, 15), "policy_invalid:") << text;
}

TEST(RegoSyntax, WhatPublicPoliciesUse) {
  constexpr std::string_view policy = R"(package policy
import rego.v1
default allow := false
pairs := [[1, 2], [3, 4]]
sum_of(pair) := pair[0] + pair[1]
good if { some _, s in input.names; s == "b" }
small := [n | n := input.numbers[_]; n < 3]
joined := object.union_n([{"a": 1}, {"b": 2}])
grade := "high" if { input.level >= 3 } else := "low"
allow if {
  good
  not input.debug
  "b" in input.names
  count(small) == 2
  joined == {"a": 1, "b": 2}
  sum_of(pairs[1]) == 7
  grade == "high"
  every n in small { n != 9 }
  input.nested["az-tdx"].x[0] == "y"
  regex.match("^[ab]+$", concat("", input.names))
}
)";
  EXPECT_EQ(outcome(std::string{policy}, R"({"names":["a","b"],"numbers":[1,2,3],"level":3,"debug":false,
                                             "nested":{"az-tdx":{"x":["y"]}}})"), "true");
}

TEST(RegoSyntax, NumbersAndTextSurviveTheWay) {
  EXPECT_EQ(outcome("package policy\nallow := input", R"([18446744073709551615,-9223372036854775808,1.5,"\"\\\n\u00e9",null])"),
            "[18446744073709551615,-9223372036854775808,1.5,\"\\\"\\\\\\n\xc3\xa9\",null]");
}

// --- what does not compile ---

TEST(RegoCompile, RefusesWithLineAndColumn) {
  const auto policy = compile("package policy\n\nallow if {\n  input.a ==\n}\n");
  ASSERT_FALSE(policy.ok());
  EXPECT_EQ(policy.error().code(), Errc::policy_invalid);
  EXPECT_EQ(policy.error().detail().substr(0, 16), "policy.rego:5:1:") << policy.error().detail();
}

TEST(RegoCompile, RefusesAModuleWithoutAPackage) {
  EXPECT_EQ(code("allow := true"), Errc::policy_invalid);
  EXPECT_EQ(code(""), Errc::policy_invalid);
}

TEST(RegoCompile, RefusesAnUnsafeVariable) {
  const auto text = outcome("package policy\nallow if { x > 1 }\n");
  EXPECT_EQ(text.substr(0, 28), "policy_invalid: policy.rego:") << text;
}

TEST(RegoCompile, RefusesRecursion) {
  const auto text = outcome("package policy\nallow if { b }\nb if { allow }\n");
  EXPECT_NE(text.find("policy.rego:"), std::string::npos) << text;
  EXPECT_NE(text.find("recursion"), std::string::npos) << text;
}

TEST(RegoCompile, RefusesTextThatIsNotUtf8) { EXPECT_EQ(code("package policy\nallow := \"\xff\"\n"), Errc::policy_invalid); }

TEST(RegoCompile, RefusesAPathThatIsNoRule) {
  EXPECT_EQ(compile("package policy\nallow := true", {}, "allow[").error().code(), Errc::policy_invalid);
}

TEST(RegoCompile, NamesTheModuleOfSeveral) {
  const std::array modules{Module{"one.rego", "package policy\nallow := data.lib.x"}, Module{"two.rego", "package lib\nx :="}};
  const auto policy = CompiledPolicy::compile(modules, std::array{kAllow}, {});
  ASSERT_FALSE(policy.ok());
  EXPECT_EQ(policy.error().detail().substr(0, 9), "two.rego:") << policy.error().detail();
}

// --- evaluation ---

TEST(RegoEvaluate, ModulesUseEachOther) {
  const std::array modules{Module{"one.rego", "package policy\nallow := data.lib.x"}, Module{"two.rego", "package lib\nx := 7"}};
  const auto policy = CompiledPolicy::compile(modules, std::array{kAllow}, {});
  ASSERT_TRUE(policy.ok()) << policy.error().text();
  EXPECT_EQ(*(*policy)->evaluate({}).value().find(kAllow), json::Value{7});
}

TEST(RegoEvaluate, AnEntrypointThatNobodyDefinesIsUndefined) {
  EXPECT_EQ(outcome("package other\nallow := true"), "undefined");
  EXPECT_EQ(outcome("package policy\nallow if { input.absent }"), "undefined");
}

TEST(RegoEvaluate, DataBelongToOneEvaluation) {
  const auto policy = compile("package policy\nallow := data[\"resource-path\"][0]\n");
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ(*(*policy)->evaluate({{}, value(R"({"resource-path":["a","b"]})"), {}}).value().find(kAllow), json::Value{"a"});
  EXPECT_EQ((*policy)->evaluate({{}, value(R"({})"), {}}).value().find(kAllow), nullptr);
}

TEST(RegoEvaluate, ReferenceValuesBelongToOneEvaluation) {
  const auto policy = compile("package policy\nallow := query_reference_value(\"svn\")\n");
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ(*(*policy)->evaluate({{}, {}, value(R"({"svn":[1]})")}).value().find(kAllow), value("[1]"));
  EXPECT_TRUE((*policy)->evaluate({{}, {}, value("{}")}).value().find(kAllow)->is_null());
  EXPECT_TRUE((*policy)->evaluate({}).value().find(kAllow)->is_null());
}

TEST(RegoEvaluate, RefusesDataAndReferenceValuesThatAreNoObjects) {
  const auto policy = compile("package policy\nallow := true\n");
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ((*policy)->evaluate({{}, value("[1]"), {}}).error().code(), Errc::malformed);
  EXPECT_EQ((*policy)->evaluate({{}, {}, value("3")}).error().code(), Errc::malformed);
}

TEST(RegoEvaluate, RefusesDefinitionsThatDisagree) {
  EXPECT_EQ(code("package policy\nallow := 1\nallow := 2\n"), Errc::policy_evaluation_failed);
}

TEST(RegoEvaluate, ReachesNothing) {
  for (const auto* call : {"http.send({\"method\":\"get\",\"url\":\"http://127.0.0.1\"})", "opa.runtime()", "time.now_ns()",
                           "net.cidr_is_valid(\"10.0.0.0/8\")"}) {
    const auto text = outcome(std::string{"package policy\nallow := "} + call + "\n");
    EXPECT_NE(text.find("policy_invalid: policy.rego:2:10: there is no function"), std::string::npos) << text;
  }
}

// --- limits ---

TEST(RegoLimits, PolicySize) {
  EXPECT_EQ(code("package policy\nallow := true", {.policy_bytes = 10}), Errc::limit_exceeded);
}

TEST(RegoLimits, InputSize) { EXPECT_EQ(code("package policy\nallow := true", {.input_bytes = 1}), Errc::limit_exceeded); }

TEST(RegoLimits, ResultSize) {
  EXPECT_EQ(code("package policy\nallow := numbers.range(1, 1000)", {.result_bytes = 1000}), Errc::limit_exceeded);
}

TEST(RegoLimits, TimeOfAPolicyThatLoops) {
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(code("package policy\nr := numbers.range(1, 2000)\nallow := count([1 | r[_] + r[_] + r[_] == 0])\n",
                 {.time = milliseconds{50}}),
            Errc::deadline_exceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds{20});
}

/// An array in an array, `depth` deep.
std::string nested(int depth) {
  const auto count = static_cast<std::size_t>(depth);
  return "package policy\nallow := " + std::string(count, '[') + std::string(count, ']');
}

TEST(RegoLimits, DepthOfExpressions) {
  EXPECT_EQ(outcome(nested(12)), "[[[[[[[[[[[[]]]]]]]]]]]]");
  EXPECT_EQ(compile(nested(13)).error().text(),
            "policy_invalid: policy.rego:2:22: more than 12 brackets within each other");
  EXPECT_EQ(code(nested(50'000)), Errc::policy_invalid);
}

TEST(RegoLimits, RecursionOfFunctions) {
  for (const auto* functions : {"f(x) := f(x + 1)", "f(x) := y if { y := g(x) }\ng(x) := f(x)", "f(x) := data.policy.f(x)",
                                "f(x) := p.f(x)", "f(x) := 1 if { x == 0 } else := f(x)", "f(x) := [y | y := f(x)]"}) {
    const auto text = outcome("package policy\nimport data.policy as p\n" + std::string{functions} + "\nallow := f(1)\n");
    EXPECT_NE(text.find(": recursion: data.policy.f needs itself"), std::string::npos) << functions << ": " << text;
  }
  EXPECT_EQ(code("package policy\nf(x) := data.policy[\"f\"](x)\nallow := f(1)"), Errc::policy_invalid);
  EXPECT_EQ(outcome("package policy\nf(x) := g(x) + g(1)\ng(x) := h(x)\nh(x) := x + input.f\nallow := f(1)", R"({"f":1})"), "4");
}

/// `count` rules, each of which needs the next.
std::string chain(int count) {
  std::string text = "package policy\nallow := r1\n";
  for (int i = 1; i < count - 1; ++i) text += "r" + std::to_string(i) + " := [x | x := r" + std::to_string(i + 1) + "][0]\n";
  return text + "r" + std::to_string(count - 1) + " := 1\n";
}

TEST(RegoLimits, NumberOfOperators) {
  const auto sum = [](int operators) {
    std::string text = "package policy\nallow := 1";
    for (int i = 0; i < operators; ++i) text += (i % 100 == 0 ? "\n+ 1" : " + 1");
    return text + "\n";
  };
  EXPECT_EQ(outcome(sum(1024)), "1025");
  EXPECT_EQ(compile(sum(1025)).error().text().substr(0, 27), "policy_invalid: policy.rego");
}

TEST(RegoLimits, DeepPoliciesDoNotNeedTheCallersStack) {
  std::string text = "package policy\nallow := r1\n";
  for (int i = 1; i < 511; ++i) text += "r" + std::to_string(i) + " := [[[[[[[[[r" + std::to_string(i + 1) + "]]]]]]]]][0][0][0][0][0][0][0][0][0]\n";
  EXPECT_EQ(outcome(text + "r511 := 1\n"), "1");
}

TEST(RegoLimits, NumberOfRules) {
  EXPECT_EQ(outcome(chain(512)), "1");
  EXPECT_EQ(compile(chain(513)).error().text(), "policy_invalid: 513 rules, at most 512 are allowed");
}

TEST(RegoLimits, DepthOfInput) {
  const auto policy = compile("package policy\nallow := true\n");
  ASSERT_TRUE(policy.ok());
  json::Value deep;
  for (int i = 0; i < 1000; ++i) deep = json::Array{std::move(deep)};
  EXPECT_EQ((*policy)->evaluate({std::move(deep), {}, {}}).error().code(), Errc::malformed);
}

struct Amplifier {
  const char* name;
  const char* expression;
};
void PrintTo(const Amplifier& amplifier, std::ostream* out) { *out << amplifier.name; }

class RegoAmplifiers : public testing::TestWithParam<Amplifier> {};

TEST_P(RegoAmplifiers, AreRefusedBeforeTheyAllocate) {
  const std::string text = "package policy\nk := concat(\"\", [\"0123456789\" | numbers.range(1, 10000)[_]])\nallow := " +
                           std::string{GetParam().expression} + "\n";
  EXPECT_EQ(code(text), Errc::limit_exceeded);
}

INSTANTIATE_TEST_SUITE_P(
    Builtins, RegoAmplifiers,
    testing::Values(Amplifier{"range", "numbers.range(1, 1000000000000)"},
                    Amplifier{"range_backwards", "numbers.range(1, -1000000000000)"},
                    Amplifier{"range_beyond_64_bits", "numbers.range(1, 100000000000000000000000)"},
                    Amplifier{"range_step", "numbers.range_step(1, 1000000000000, 1)"},
                    Amplifier{"shift", "bits.lsh(1, 1000000000000)"},
                    Amplifier{"concat", "concat(k, [\"a\" | numbers.range(1, 10000)[_]])"},
                    Amplifier{"replace", "replace(k, \"0\", k)"}, Amplifier{"replace_nothing", "replace(k, \"\", k)"},
                    Amplifier{"replace_n", "strings.replace_n({\"0\": k}, k)"},
                    Amplifier{"regex_replace", "regex.replace(k, \"0\", k)"},
                    Amplifier{"sprintf_width", "sprintf(\"%1000000000d\", [1])"},
                    Amplifier{"sprintf_long", "sprintf(\"%s%s%s%s%s%s%s%s%s%s%s\", [k, k, k, k, k, k, k, k, k, k, k])"},
                    Amplifier{"marshal", "json.marshal([k | numbers.range(1, 100)[_]])"},
                    Amplifier{"marshal_number", "json.marshal(product([12345678901 | numbers.range(1, 64)[_]]))"},
                    Amplifier{"to_number", "to_number(k)"}),
    [](const auto& one) { return std::string{one.param.name}; });

TEST(RegoBuiltins, SmallUsesOfTheBoundedOnesWork) {
  EXPECT_EQ(outcome(R"(package policy
allow := [numbers.range(1, 3), numbers.range_step(1, 5, 2), bits.lsh(1, 4), concat("-", ["a", "b"]), replace("aa", "a", "b"),
  strings.replace_n({"a": "b"}, "aa"), regex.replace("aa", "a", "c"), sprintf("%s %d %5d", ["x", 1, 2]),
  json.marshal({"a": [1]}), to_number("12")]
)"),
            R"([[1,2,3],[1,3,5],16,"a-b","bb","bb","cc","x 1     2","{\"a\":[1]}",12])");
}

// Beyond the limit of the whole library, in steps that each are small.
TEST(RegoLimits, MemoryInAll) {
  set_memory_limit(64U << 20);
  const auto result = code(R"(package policy
k := concat("", ["0123456789" | numbers.range(1, 10000)[_]])
allow := count([x | some i in numbers.range(1, 50000); x := concat("", [k, sprintf("%d", [i])])])
)",
                           {.time = std::chrono::seconds{60}});
  set_memory_limit(256U << 20);
  EXPECT_EQ(result, Errc::limit_exceeded);
  EXPECT_EQ(outcome("package policy\nallow := true"), "true");  // what was held is given back
}

// --- explanations ---

std::vector<std::string> explanation(std::string text, std::string_view input, std::string_view reference = "{}") {
  const auto policy = compile(std::move(text));
  if (!policy) return {policy.error().text()};
  const auto evaluation = (*policy)->evaluate({value(input), {}, value(reference)}, Explain::yes);
  if (!evaluation) return {evaluation.error().text()};
  if (!evaluation->rules) return {"unexplained"};
  std::vector<std::string> out;
  for (const auto& rule : *evaluation->rules) {
    out.push_back(rule.module + ':' + std::to_string(rule.line) + ' ' + rule.name + (rule.is_default ? " default" : ""));
  }
  return out;
}

TEST(RegoExplain, NamesTheDefinitionThatHeld) {
  constexpr auto policy = "package policy\ndefault allow := false\nallow if { input.a == 1 }\nallow if {\n  input.a == 2\n}\n";
  EXPECT_EQ(explanation(policy, R"({"a":1})"), std::vector<std::string>{"policy.rego:3 allow"});
  EXPECT_EQ(explanation(policy, R"({"a":2})"), std::vector<std::string>{"policy.rego:4 allow"});
  EXPECT_EQ(explanation(policy, R"({"a":3})"), std::vector<std::string>{"policy.rego:2 allow default"});
}

TEST(RegoExplain, KnowsV0AndElse) {
  EXPECT_EQ(explanation("package policy\ndefault allow = false\nallow = true { input.a == 1 }\n", R"({"a":1})"),
            std::vector<std::string>{"policy.rego:3 allow"});
  EXPECT_EQ(explanation("package policy\nallow { input.a == 1 }\n", R"({"a":1})"), std::vector<std::string>{"policy.rego:2 allow"});
  EXPECT_EQ(explanation("package policy\nallow := 1 if { input.a == 1 }\nelse := 2 if { input.a == 2 }\n", R"({"a":2})"),
            std::vector<std::string>{"policy.rego:3 allow"});
}

TEST(RegoExplain, KnowsValuesThatAreTexts) {
  EXPECT_EQ(explanation("package policy\nallow := \"yes\" if { input.a == 1 }\nelse := `no` if { input.a == 2 }\n", R"({"a":2})"),
            std::vector<std::string>{"policy.rego:3 allow"});
}

TEST(RegoExplain, NamesTheRulesBeneath) {
  EXPECT_EQ(explanation("package policy\ndefault hardware := 97\nhardware := 2 if { input.ok }\nallow := {\"hardware\": hardware + 0}\n",
                        R"({"ok":true})"),
            (std::vector<std::string>{"policy.rego:3 hardware", "policy.rego:4 allow"}));
}

/// The conditions that were not met, as "rule at line:column: text".
std::vector<std::string> unmet(std::string text, std::string_view input) {
  const auto policy = compile(std::move(text));
  if (!policy) return {policy.error().text()};
  const auto evaluation = (*policy)->evaluate({value(input), {}, {}}, Explain::yes);
  if (!evaluation) return {evaluation.error().text()};
  if (!evaluation->rules) return {"unexplained"};
  std::vector<std::string> out;
  for (const auto& one : evaluation->unmet) {
    out.push_back(one.rule + " at " + std::to_string(one.line) + ':' + std::to_string(one.column) + ": " + one.text);
  }
  return out;
}
using Texts = std::vector<std::string>;

// The names of rules that say what an object has: whole, and found to hold.
TEST(RegoExplain, NamesRulesWhole) {
  constexpr auto policy = R"(package policy
import rego.v1
default allow := false
allow if {
  told["a.b"] == 1
  told.c == 2
  told[`d`] == 3
  listed[ "f" ]
  numbered[7] == 4
  deep["g"]["h"] == 5
}
told["a.b"] := 1 if { input.a == 1 }
told.c := 2 if { input.a == 1 }
told[`d`] = 3 if { input.a == 1 }
listed[ "f" ] if { input.a == 1 }
numbered[7] := 4 if { input.a == 1 }
deep["g"]["h"] := 5 if { input.a == 1 }
)";
  const auto held = explanation(policy, R"({"a":1})");
  for (const auto* rule : {"policy.rego:4 allow", R"(policy.rego:12 told["a.b"])", "policy.rego:13 told.c", "policy.rego:14 told[`d`]",
                           R"(policy.rego:15 listed[ "f" ])", "policy.rego:16 numbered[7]", R"(policy.rego:17 deep["g"]["h"])"}) {
    EXPECT_EQ(std::ranges::count(held, std::string{rule}), 1) << rule;
  }
  EXPECT_EQ(held.size(), 7U);
  EXPECT_EQ(unmet(policy, R"({"a":2})"),
            (Texts{R"(allow at 5:3: told["a.b"] == 1)", R"(told["a.b"] at 12:23: input.a == 1)"}));
}

TEST(RegoExplain, NamesTheConditionThatWasNotMet) {
  constexpr auto policy = R"(package policy
import rego.v1
default allow := false
allow if {
  input.a == 1
  not input.debug
  "x" in input.names
  startswith(input.name, "vm-")
}
)";
  EXPECT_EQ(unmet(policy, R"({"a":1,"debug":false,"names":["x"],"name":"vm-1"})"), Texts{});
  EXPECT_EQ(unmet(policy, R"({"a":2,"names":["x"],"name":"vm-1"})"), Texts{"allow at 5:3: input.a == 1"});
  EXPECT_EQ(unmet(policy, R"({"names":["x"],"name":"vm-1"})"), Texts{"allow at 5:3: input.a == 1"});  // undefined is not met
  EXPECT_EQ(unmet(policy, R"({"a":1,"debug":true,"names":["x"],"name":"vm-1"})"), Texts{"allow at 6:3: not input.debug"});
  EXPECT_EQ(unmet(policy, R"({"a":1,"names":[],"name":"vm-1"})"), Texts{"allow at 7:3: \"x\" in input.names"});
  EXPECT_EQ(unmet(policy, R"({"a":1,"names":["x"],"name":"host"})"), Texts{"allow at 8:3: startswith(input.name, \"vm-\")"});
  EXPECT_EQ(unmet(policy, R"({"a":1,"names":["x"]})"), Texts{"allow at 8:3: startswith(input.name, \"vm-\")"});
}

TEST(RegoExplain, NamesConditionsOfVariables) {
  constexpr auto policy = R"(package policy
import rego.v1
default allow := false
allow if {
  level := input.level
  level > 3
  some name in input.names
  name == "x"
  input.list[i].ok == true
  i > 0
}
)";
  EXPECT_EQ(unmet(policy, R"({"level":4,"names":["x"],"list":[{},{"ok":true}]})"), Texts{});
  EXPECT_EQ(unmet(policy, R"({"level":3,"names":["x"],"list":[{},{"ok":true}]})"), Texts{"allow at 6:3: level > 3"});
  EXPECT_EQ(unmet(policy, R"({"names":["x"],"list":[{},{"ok":true}]})"), Texts{"allow at 5:3: level := input.level"});
  EXPECT_EQ(unmet(policy, R"({"level":4,"names":["y","z"],"list":[{},{"ok":true}]})"), Texts{"allow at 8:3: name == \"x\""});
  EXPECT_EQ(unmet(policy, R"({"level":4,"names":[],"list":[{},{"ok":true}]})"), Texts{"allow at 7:3: some name in input.names"});
  EXPECT_EQ(unmet(policy, R"({"level":4,"names":["x"],"list":[{"ok":true}]})"), Texts{"allow at 10:3: i > 0"});
}

TEST(RegoExplain, NamesConditionsOfEveryDefinitionThatWasLookedAt) {
  constexpr auto policy = R"(package policy
import rego.v1
default allow := false
allow if input.a == 1
allow if {
  helper
  every n in input.numbers { n < 3 }
}
helper if { fits(input.b) }
fits(x) if x > 7
unrelated if input.never
)";
  EXPECT_EQ(unmet(policy, R"({"a":2,"b":3,"numbers":[1]})"),
            (Texts{"allow at 4:10: input.a == 1", "allow at 6:3: helper", "helper at 9:13: fits(input.b)", "fits at 10:12: x > 7"}));
  EXPECT_EQ(unmet(policy, R"({"a":2,"b":8,"numbers":[1,5]})"),
            (Texts{"allow at 4:10: input.a == 1", "allow at 7:3: every n in input.numbers { n < 3 }"}));
}

TEST(RegoExplain, NamesConditionsOfV0AndElse) {
  EXPECT_EQ(unmet("package policy\ndefault allow = false\nallow = true { input.a = 1; input.b == 2 }\n", R"({"a":1,"b":1})"),
            Texts{"allow at 3:29: input.b == 2"});
  EXPECT_EQ(unmet("package policy\nallow { input.a = 1 }\n", R"({"a":2})"), Texts{"allow at 2:9: input.a = 1"});
  EXPECT_EQ(unmet("package policy\nallow := 1 if { input.a == 1 }\nelse := 2 if { input.a == 2 }\n", R"({"a":3})"),
            (Texts{"allow at 2:17: input.a == 1", "allow at 3:16: input.a == 2"}));
}

TEST(RegoExplain, TellsOfSoManyConditionsAndNoMore) {
  std::string policy = "package policy\ndefault allow := false\n";
  for (int i = 0; i < 100; ++i) policy += "allow if input.a == " + std::to_string(i) + "\n";
  EXPECT_EQ(unmet(policy, R"({"a":-1})").size(), 32U);
  EXPECT_EQ(unmet("package policy\nallow if input.a == \"" + std::string(200, 'x') + "\"\n", "{}").front().size(),
            std::string{"allow at 2:10: "}.size() + 160 + std::string{"\u2026"}.size());
}

TEST(RegoEvaluate, MayBeGivenLessTimeThanThePolicyHas) {
  const auto policy = compile("package policy\nr := numbers.range(1, 2000)\nallow := count([1 | r[_] + r[_] + r[_] == 0])\n", {.time = std::chrono::seconds{60}});
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ((*policy)->evaluate({{}, {}, {}, milliseconds{20}}).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ((*policy)->evaluate({{}, {}, {}, milliseconds{-1}}).error().code(), Errc::deadline_exceeded);
}

TEST(RegoExplain, IsAbsentUnlessAskedFor) {
  const auto policy = compile("package policy\nallow := true\n");
  ASSERT_TRUE(policy.ok());
  EXPECT_FALSE((*policy)->evaluate({}).value().rules.has_value());
}

// --- cache ---

std::array<Module, 1> numbered(int i) { return {Module{"p.rego", "package policy\nallow := " + std::to_string(i)}}; }

TEST(PolicyCache, KeepsTheMostRecentlyUsed) {
  PolicyCache cache{2};
  const std::array entry{kAllow};
  const auto one = cache.get(numbered(1), entry).value();
  const auto two = cache.get(numbered(2), entry).value();
  EXPECT_EQ(cache.get(numbered(1), entry).value(), one);
  EXPECT_TRUE(cache.get(numbered(3), entry).ok());  // gives up 2
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(cache.get(numbered(1), entry).value(), one);
  EXPECT_NE(cache.get(numbered(2), entry).value(), two);
}

TEST(PolicyCache, TellsLimitsNamesAndEntrypointsApart) {
  PolicyCache cache{8};
  const auto text = numbered(1);
  const auto first = cache.get(text, std::array{kAllow}).value();
  EXPECT_NE(cache.get(text, std::array<std::string, 1>{"data.policy.deny"}).value(), first);
  EXPECT_NE(cache.get(text, std::array{kAllow}, {.result_bytes = 7}).value(), first);
  EXPECT_NE(cache.get(std::array{Module{"q.rego", text[0].text}}, std::array{kAllow}).value(), first);
  EXPECT_EQ(cache.get(text, std::array{kAllow}).value(), first);
}

TEST(PolicyCache, KeepsNoRefusal) {
  PolicyCache cache{2};
  EXPECT_FALSE(cache.get(std::array{Module{"p", "nonsense"}}, std::array{kAllow}).ok());
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace cloister::rego
