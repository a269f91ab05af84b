#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <sstream>

#include "cloister/rego/policy.hpp"

namespace cloister::rego {
namespace {

std::shared_ptr<const CompiledPolicy> compiled(const std::string& text) {
  const std::array modules{Module{"p.rego", text}};
  auto policy = CompiledPolicy::compile(modules, std::array{std::string{"data.policy.allow"}});
  EXPECT_TRUE(policy.ok()) << text << ": " << policy.error().text();
  return policy ? *policy : nullptr;
}

bool is_plain(const std::string& rules) {
  const auto policy = compiled("package policy\nimport rego.v1\n" + rules);
  return policy && policy->is_plain();
}

TEST(RegoPlain, WhatReleasesAreCommonlyDecidedBy) {
  for (const auto* rules : {
           "allow := true",
           "default allow := false\nallow if input.tee == \"tdx\"",
           "allow if { input[\"submods\"][\"cpu0\"][\"ear.status\"] == \"affirming\"; data.plugin == \"resource\" }",
           "allow if { some x in input.submods; x[\"ear.status\"] == \"affirming\"; not x.debug }",
           "allow if every x in input.submods { x.status == \"affirming\" }",
           "allow if input.mr_td in query_reference_value(\"mr_td\")",
           "allow if input.mr_td in [\"a\", \"b\"]\nallow if input.mr_td in {\"c\", \"d\"}",
           "allow if data[\"resource-path\"][0] == input.tenant",
           "allow if startswith(input.a, concat_of) \nconcat_of := input.b",
           "allow if { input.svn >= 3; input.svn + 1 < 9; lower(input.name) == \"x\" }",
           "allow if { parts := split(input.path, \"/\"); parts[0] == \"a\" }",
           "allow if object.get(input, \"a\", false)",
           "allow if count([x | some x in input.l; x.ok]) > 2",
           "names := {x.name | some x in input.l}\nallow if count(names) == 2",
           "known contains x if some x in input.l\nallow if input.a in input.b",
           "allow := {\"a\": a, \"b\": [a, input.b]}\na := 1",
           "v[\"a\"] := [x | some x in input.l]\nv[\"b\"] := [x | some x in input.m]\nallow if count(v) == 2",
           "allow if { [a, b] := input.pair; a == b }",
           "allow := \"high\" if input.level > 3 else := \"low\"",
       }) {
    EXPECT_TRUE(is_plain(rules)) << rules;
  }
}

TEST(RegoPlain, PoliciesThatAreBuiltIn) {
  for (const auto* file : {"src/kbs/policies/resource.rego", "src/appraisal/policies/default.rego"}) {
    const auto* root = std::getenv("CLOISTER_SOURCE_DIR");
    ASSERT_NE(root, nullptr);
    std::ifstream in{std::string{root} + '/' + file};
    std::stringstream text;
    text << in.rdbuf();
    ASSERT_FALSE(text.str().empty()) << file;
    const auto policy = compiled(text.str());
    ASSERT_NE(policy, nullptr);
    EXPECT_TRUE(policy->is_plain()) << file;
  }
}

TEST(RegoPlain, V0Too) {
  EXPECT_TRUE(compiled("package policy\ndefault allow = false\nallow { input.a == 1 }\n")->is_plain());
  EXPECT_TRUE(compiled("package policy\nallow { input.l[_] == 1 }\n")->is_plain());
}

// Each is plain but for one thing.
TEST(RegoPlain, NotWhatMayHaveAStepWithoutBound) {
  const std::string built = "b := [input.a, input.a]\n";
  for (const auto* rules : {
           "allow if b == input.c", "allow if input.c != b", "allow if b in input.l", "allow if input.x in b", "allow if input.o[b]",
           "allow if {b, 1}", "allow if {b: 1}", "allow if {b | true}", "allow if {b: 1 | true}", "allow if {\"k\": b | some _ in input.l}",
           "allow if { b = input.c }", "allow if { [x, 1] := b; x }", "allow if { some [x, 1] in b; x }", "s contains b\nallow if s",
           "allow if lower(b)", "allow if { c := b; c == 1 }", "allow if { c := b[0]; c == 1 }", "allow if { some c in b; c == 1 }",
           "allow if every c in b { c == 1 }", "c := b\nallow if c == 1", "c := {\"k\": b}\nallow if c.k == 1", "allow if data.policy.b == 1",
           "allow if data[\"policy\"].b == 1", "c := b\nc := [1, input.a]\nallow if c", "c := b if some x in input.l\nallow if c",
           "c := b if input.l[_]\nallow if c", "c := [input.l[_]]\nallow if c", "c[x] := b if some x in input.l\nallow if c", "c[b] := 1\nallow if c", "c[b].d := 1\nallow if c",
           "c.d := b\nc.d.e := 1\nallow if c", "c := b if input.x else := [1, input.a]\nallow if c", "allow if b - {1}", "allow if b < 1",
           "f(x) := x\nallow if f(1)", "allow if input.a * 2 > 1", "allow if input.a / 2 > 1", "allow if input.a % 2 > 1",
           "allow if count({1} | {input.a}) > 1", "allow if count({1} & {input.a}) > 1", "allow if input.a with input as {}",
           "allow if regex.match(\"a\", input.a)", "allow if sprintf(\"%s\", [input.a]) == \"a\"", "allow if concat(\"\", input.l) == \"a\"",
           "allow if json.marshal(input.a) == \"a\"", "allow if numbers.range(1, 2)[0] == 1", "allow if print(input.a)",
           "allow if { split(input.a, \"/\", [c, d]); c == d }", "allow if base64.encode(input.a) == \"\"", "allow if replace(input.a, \"a\", \"b\") == \"\"",
       }) {
    EXPECT_FALSE(is_plain(built + rules)) << rules;
  }
  EXPECT_TRUE(is_plain(built + "allow if b"));
}

TEST(RegoPlain, NotWithImportsOfNames) {
  EXPECT_FALSE(compiled("package policy\nimport data.policy.b as c\nb := [1, input.a]\nallow if { c }")->is_plain());
  EXPECT_TRUE(compiled("package policy\nimport future.keywords.if\nimport future.keywords.in\nallow if 1 in input.l")->is_plain());
}

TEST(RegoPlain, AsDeepAsItLikes) {
  // Names are found by walks: a chain that needs more of them than there are is not plain.
  std::string chain = "b0 := [input.a, input.a]\n";
  for (int i = 1; i < 40; ++i) chain = "b" + std::to_string(i) + " := b" + std::to_string(i - 1) + "\n" + chain;
  EXPECT_FALSE(is_plain(chain + "allow if b39 == 1"));
  EXPECT_FALSE(is_plain(chain + "allow if b39"));
}

}  // namespace
}  // namespace cloister::rego
