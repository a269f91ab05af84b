#include "cloister/rego/isolation.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "cloister/rego/policy.hpp"

namespace cloister::rego {
namespace {

namespace json = codec::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kAllow = "data.policy.allow";

Isolation::Options options() {
  Isolation::Options out;
  out.program = CLOISTER_REGO_EVALUATOR;
  out.processes = 1;
  return out;
}

Result<std::shared_ptr<const CompiledPolicy>> compile(const std::string& rules, const Limits& limits = {}) {
  const std::array modules{Module{"p.rego", "package policy\nimport rego.v1\n" + rules}};
  return CompiledPolicy::compile(modules, std::array{kAllow}, limits);
}

/// What `allow` is, or the error's code.
std::string outcome(const CompiledPolicy& policy, Explain explain = Explain::no) {
  const auto evaluation = policy.evaluate({json::Object{{"a", 1}}, {}, {}}, explain);
  if (!evaluation) return std::string{to_string(evaluation.error().code())};
  const auto* allow = evaluation->find(kAllow);
  return allow == nullptr ? "undefined" : json::write(*allow).substr(0, 80);
}

std::string chain(const std::string& first, const std::string& step, int count) {
  auto out = "a0 := " + first + "\n";
  for (int i = 1; i < count; ++i) {
    auto next = step;
    const auto before = "a" + std::to_string(i - 1);
    for (auto at = next.find('$'); at != std::string::npos; at = next.find('$')) next.replace(at, 1, before);
    out += "a" + std::to_string(i) + " := " + next + "\n";
  }
  return out;
}

/// A step of it takes longer than anybody waits.
const std::string kEndless = chain("[1]", "[$, $]", 60) + "allow if count({a50, a51[0]}) == 1";

struct Bomb {
  const char* name;
  std::string rules;
};
void PrintTo(const Bomb& bomb, std::ostream* out) { *out << bomb.name; }

std::vector<Bomb> bombs() {
  const auto square = chain("123456789012345678901234567890", "$ * $", 40);
  const auto share = chain("[1, 2, 3, 4, 5, 6, 7, 8]", "[$, $]", 60);
  const std::string text = "s := concat(\"\", [\"a\" | some _ in numbers.range(1, 99999)])\n";
  return {
      {"square", square + "allow if a28 != 3"},
      {"square_less", square + "allow if a22 != 3"},
      {"square_printed", square + "allow if sprintf(\"%d\", [a20]) != \"\""},
      {"square_as_json", square + "allow if json.marshal(a20) != \"\""},
      {"square_formatted", square + "allow if format_int(a20, 10) != \"\""},
      {"square_remainder", square + "allow if (a24 % (a23 + 1)) != 3"},
      {"square_divided", square + "allow if (a22 / (a21 + 1)) != 3"},
      {"square_as_key", square + "allow if {x := {a22: 1}; x[a22] == 1}"},
      {"regex_large", "allow if regex.match(`((a{0,200}){0,200}){0,200}`, \"aaaa\")"},
      {"regex_many", "allow if { some i in numbers.range(1, 1000); regex.match(concat(\"\", [\"(\\\\w{0,100}){0,20}\", sprintf(\"%d\", [i])]), \"b\") }"},
      {"regex_find", text + "allow if count(regex.find_n(`a*?a*?a*?a*?b`, s, -1)) > 3"},
      {"regex_split", text + "allow if count(regex.split(`(a*)*b`, s)) > 3"},
      {"split", text + "allow if count([1 | some c in split(s, \"\"); some d in split(s, \"\")]) > 3"},
      {"replace", text + "allow if count(replace(replace(s, \"a\", \"aaaaaaaaaa\"), \"a\", \"aaaaaaaaaaaaaaaaaaaaaaa\")) > 3"},
      {"unmarshal", "s := concat(\"\", [\"[\" | some _ in numbers.range(1, 99999)])\nallow if json.unmarshal(s)"},
      {"unmarshal_closed", "s := concat(\"\", [concat(\"\", [x | some _ in numbers.range(1, 99999)]) | some x in [\"[\", \"]\"]])\nallow if json.unmarshal(s)"},
      {"is_valid", "s := concat(\"\", [\"[\" | some _ in numbers.range(1, 99999)])\nallow if json.is_valid(s)"},
      {"loops", "allow if count([1 | some a in numbers.range(1, 9999); some b in numbers.range(1, 9999); some c in numbers.range(1, 9999)]) > 3"},
      {"doubling", chain("[1, 2, 3, 4, 5, 6, 7, 8]", "array.concat($, $)", 40) + "allow if count(a35) > 1"},
      {"shared_compared", share + "allow if a50 == a51[0]"},
      {"shared_in_a_set", share + "allow if count({a50, a51[0]}) == 1"},
      {"shared_as_result", share + "allow := a50"},
      {"shared_as_json", share + "allow if json.marshal(a50) != \"\""},
      {"shared_printed", share + "allow if { print(a50); true }"},
      {"shared_formatted", share + "allow if sprintf(\"%v\", [a50]) != \"\""},
      {"shared_sorted", share + "allow if sort([a50, a51[0]])"},
      {"shared_member", share + "allow if a50 in [a51[0]]"},
      {"shared_unioned", share + "allow if count({a50} | {a51[0]}) == 1"},
      {"shared_twice_defined", share + "b := a50\nb := a51[0]\nallow if b"},
      {"shared_from_loop", share + "b := a51[_]\nallow if b"},
      {"shared_as_object", chain("{\"k\": 1}", "{\"k\": $, \"l\": $}", 60) + "allow if a50 == a51.k"},
      {"shared_by_comprehensions", "a0 := numbers.range(1, 3000)\na1 := [a0 | some _ in a0]\na2 := [a1 | some _ in a0]\nallow if a2 == [a1 | some _ in a0]"},
      {"shared_by_function", "f(x) := [x, x]\ng(x) := f(f(f(f(f(f(f(f(x))))))))\nh(x) := g(g(g(g(g(x)))))\nallow if h(1) == h(1)"},
      {"pairs", chain("{1, 2, 3, 4}", "{[x, y] | some x in $; some y in $}", 12) + "allow if count(a11) > 1"},
      {"text_doubling", chain("\"abcdefgh\"", "concat(\"\", [$, $])", 40) + "allow if count(a35) > 1"},
      {"text_doubling_formatted", chain("\"abcdefgh\"", "sprintf(\"%s%s\", [$, $])", 40) + "allow if count(a35) > 1"},
      {"base64", chain("concat(\"\", [\"a\" | some _ in numbers.range(1, 99999)])", "base64.encode($)", 60) + "allow if count(a59) > 1"},
      {"hex", chain("concat(\"\", [\"a\" | some _ in numbers.range(1, 99999)])", "hex.encode($)", 40) + "allow if count(a39) > 1"},
      {"trim", text + "allow if count([1 | some i in numbers.range(1, 99999); trim(s, s) == \"\"]) > 1"},
      {"indexof_n", text + "allow if count(indexof_n(s, \"a\")) > 1"},
      {"indexof_n_late", text + "t := concat(\"\", [substring(s, 0, 50000), \"b\"])\nallow if count(indexof_n(s, t)) == 1"},
      {"strings_count", text + "allow if strings.count(s, \"a\") == 1"},
      {"semver", "s := concat(\"\", [\"9\" | some _ in numbers.range(1, 99999)])\nallow if semver.is_valid(s)"},
      {"to_number", "allow if to_number(\"1e999999999\") > 1"},
      {"shift", "allow if bits.lsh(1, 9999999999) > 1"},
      {"product", "allow if product(numbers.range(1, 99999)) > 1"},
      {"product_large", "allow if product(numbers.range(10000000000, 10000050000)) > 1"},
      {"every", "allow if every x in numbers.range(1, 99999) { every y in numbers.range(1, 99999) { x + y > 0 } }"},
      // The engine takes an error within a function for undefined.
      {"loops_in_functions", "f(x) := count([1 | some a in numbers.range(1, 9999)])\nallow if count([1 | some x in numbers.range(1, 99999); not f(x)]) == 1"},
  };
}

class RegoBombs : public testing::TestWithParam<Bomb> {};

// Nothing is asserted of the clock: what holds is that it ends, and by what.
TEST_P(RegoBombs, EndInAProcessOfTheirOwn) {
  const auto isolation = Isolation::start(options());
  ASSERT_TRUE(isolation.ok()) << isolation.error().text();
  const auto policy = compile(GetParam().rules, {.time = milliseconds{100}});
  ASSERT_TRUE(policy.ok()) << policy.error().text();
  EXPECT_TRUE(!(*policy)->is_plain() || GetParam().name == std::string{"shared_as_result"});
  for (const auto explain : {Explain::no, Explain::yes}) {
    const auto ended = outcome(**policy, explain);
    EXPECT_TRUE(ended == "deadline_exceeded" || ended == "limit_exceeded" || ended == "policy_evaluation_failed" ||
                ended == "undefined" || ended == "true")
        << ended;
  }
  // Another goes on, in the same process or in one that took its place.
  EXPECT_EQ(outcome(**compile("allow := sprintf(\"%d\", [input.a])", {.time = seconds{30}})), "\"1\"");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  rusage used{};
  ASSERT_EQ(::getrusage(RUSAGE_CHILDREN, &used), 0);
  EXPECT_LE(static_cast<std::uint64_t>(used.ru_maxrss) * 1024, options().memory);
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &used), 0);
  EXPECT_LE(used.ru_maxrss, 256L * 1024);
#endif
}

INSTANTIATE_TEST_SUITE_P(Bombs, RegoBombs, testing::ValuesIn(bombs()), [](const auto& one) { return std::string{one.param.name}; });

TEST(RegoIsolation, AnswersAsTheServerItself) {
  const std::string rules = "default allow := false\nallow if {\n  sprintf(\"%d\", [input.a]) == \"1\"\n  data.d.x == 2\n  query_reference_value(\"r\") == 3\n}";
  const auto policy = compile(rules, {.time = seconds{30}}).value();
  ASSERT_FALSE(policy->is_plain());
  Given right{json::Object{{"a", 1}}, json::Object{{"d", json::Object{{"x", 2}}}}, json::Object{{"r", 3}}};
  Given wrong{json::Object{{"a", 2}}, {}, {}};
  Given known = right;
  known.known_input = KnownInput::of(right.input).value();
  known.input = {};
  const auto text = [&](const Given& given) {
    const auto evaluation = policy->evaluate(given, Explain::yes).value();
    std::string out = json::write(*evaluation.find(kAllow));
    for (const auto& rule : *evaluation.rules) out += ' ' + rule.name + std::to_string(rule.line) + (rule.is_default ? "d" : "");
    for (const auto& condition : evaluation.unmet) out += ' ' + std::to_string(condition.line) + ':' + condition.text;
    return out;
  };
  const std::array here{text(right), text(wrong), text(known)};
  const auto isolation = Isolation::start(options()).value();
  EXPECT_EQ(text(right), here[0]);
  EXPECT_EQ(text(wrong), here[1]);
  EXPECT_EQ(text(known), here[2]);
  EXPECT_EQ(here[0].substr(0, 4), "true");
  EXPECT_EQ(here[1].substr(0, 5), "false");
  EXPECT_EQ(isolation->lost(), 0U);
}

TEST(RegoIsolation, MorePoliciesThanAProcessKeeps) {
  const auto isolation = Isolation::start(options()).value();
  std::vector<std::shared_ptr<const CompiledPolicy>> policies;
  for (int i = 0; i < 40; ++i) {
    policies.push_back(compile("allow := " + std::to_string(i) + " * 1\n#" + std::string(i < 20 ? 1 : 1000, 'x') + "\n", {.time = seconds{30}}).value());
  }
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 40; ++i) EXPECT_EQ(outcome(*policies[static_cast<std::size_t>(i)]), std::to_string(i));
  }
  // One of the largest needs the room of all others.
  std::string large;
  for (int line = 0; line < 255; ++line) large += "#" + std::string(1000, 'x') + '\n';
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(outcome(*compile("allow := " + std::to_string(i) + " * 1\n" + large, {.time = seconds{30}}).value()), std::to_string(i));
  }
  EXPECT_EQ(outcome(*policies[7]), "7");
  EXPECT_EQ(isolation->lost(), 0U);
}

TEST(RegoIsolation, RefusalsKeepTheirCodes) {
  const auto isolation = Isolation::start(options()).value();
  EXPECT_EQ(outcome(*compile("allow := 1 * 1\nallow := 2 * 1", {.time = seconds{30}}).value()), "policy_evaluation_failed");
  EXPECT_EQ(outcome(*compile("allow := numbers.range(1, 1000)", {.result_bytes = 1000, .time = seconds{30}}).value()), "limit_exceeded");
  const auto policy = compile("allow := 1 * 1", {.time = seconds{30}}).value();
  EXPECT_EQ(policy->evaluate({{}, json::Array{}, {}}).error().code(), Errc::malformed);
  EXPECT_EQ(isolation->lost(), 0U);
}

TEST(RegoIsolation, SaysWhatStoppedAPolicy) {
  const auto isolation = Isolation::start(options()).value();
  const auto slow = compile(kEndless, {.time = milliseconds{100}}).value()->evaluate({});
  ASSERT_FALSE(slow.ok());
  EXPECT_EQ(slow.error().text(), "deadline_exceeded: one step of the policy did not end: it was stopped after 200 ms");
  EXPECT_EQ(isolation->lost(), 1U);
}

TEST(RegoIsolation, WhatTakesTooLongToCompileIsRefused) {
  const auto isolation = Isolation::start(options()).value();
  std::string rules = "allow if {\n";
  for (int i = 0; i < 10'000; ++i) {
    rules += 'v' + std::to_string(i) + " := " + (i == 0 ? "1" : 'v' + std::to_string(i - 1)) + (i % 20 == 19 ? "\n" : "; ");
  }
  const auto policy = compile(rules + "}");
  ASSERT_FALSE(policy.ok());
  EXPECT_EQ(policy.error().text(), "deadline_exceeded: the policy's compilation did not end: it was stopped after 1000 ms");
  EXPECT_EQ(isolation->lost(), 1U);
  EXPECT_EQ(outcome(*compile("allow := 2 * 3", {.time = seconds{30}}).value()), "6");
}

TEST(RegoIsolation, WhatDoesNotCompileIsRefusedAsEver) {
  const auto here = compile("allow if { input.a == }").error().text();
  const auto isolation = Isolation::start(options()).value();
  EXPECT_EQ(compile("allow if { input.a == }").error().text(), here);
  EXPECT_EQ(here.substr(0, 22), "policy_invalid: p.rego");
}

// Without a sanitizer the address space is limited: an allocation that fails ends the process.
TEST(RegoIsolation, AProcessThatEndsIsReplaced) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory is not limited under sanitizers";
#endif
  const auto isolation = Isolation::start(options()).value();
  const auto grown = compile(chain("numbers.range(1, 99999)", "array.concat($, $)", 16) + "allow if count(a15) > 1", {.time = seconds{30}}).value()->evaluate({});
  ASSERT_FALSE(grown.ok());
  EXPECT_EQ(grown.error().code(), Errc::limit_exceeded) << grown.error().text();
  EXPECT_EQ(outcome(*compile("allow := 2 * 3", {.time = seconds{30}}).value()), "6");
}

TEST(RegoIsolation, OneThatWasStoppedWaitsForItsTurn) {
  auto two = options();
  two.processes = 2;
  const auto isolation = Isolation::start(two).value();
  const auto first = compile(kEndless, {.time = seconds{1}}).value();
  const auto second = compile(kEndless + "\n# another", {.time = milliseconds{100}}).value();
  EXPECT_EQ(outcome(*first), "deadline_exceeded");
  EXPECT_EQ(outcome(*second), "deadline_exceeded");
  // Many threads that ask them: one of them is evaluated at a time, and the others are refused without waiting.
  std::atomic<int> refused = 0;
  std::atomic<int> evaluated = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] { ++(outcome(i % 2 == 0 ? *first : *second) == "overloaded" ? refused : evaluated); });
  }
  EXPECT_EQ(outcome(*compile("allow := 2 * 3", {.time = seconds{30}}).value()), "6");
  for (auto& thread : threads) thread.join();
  EXPECT_GE(evaluated, 1);
  EXPECT_EQ(refused + evaluated, 8);
  EXPECT_LE(isolation->lost(), 2U + static_cast<unsigned>(evaluated));
}

TEST(RegoIsolation, APolicyThatEndsAgainNeedsNoTurn) {
  const auto policy = compile("allow := count([1 | some x in numbers.range(1, input.n); some y in numbers.range(1, input.n)])", {.time = milliseconds{200}}).value();
  const auto isolation = Isolation::start(options()).value();
  EXPECT_EQ(policy->evaluate({json::Object{{"n", 90'000}}, {}, {}}).error().code(), Errc::deadline_exceeded);
  EXPECT_TRUE(policy->evaluate({json::Object{{"n", 2}}, {}, {}}).ok());
  EXPECT_TRUE(policy->evaluate({json::Object{{"n", 2}}, {}, {}}).ok());
}

TEST(RegoIsolation, StopEndsWhatRuns) {
  const auto isolation = Isolation::start(options()).value();
  const auto policy = compile(kEndless, {.time = seconds{600}}).value();
  const auto other = compile("allow := 2 * 3", {.time = seconds{30}}).value();
  std::thread asking{[&] { EXPECT_EQ(outcome(*policy), "cancelled"); }};
  while (outcome(*other) != "overloaded") {
  }  // until the one process is taken
  isolation->stop();
  asking.join();
  EXPECT_EQ(outcome(*policy), "cancelled");
}

TEST(RegoIsolation, OneAtATime) {
  {
    const auto isolation = Isolation::start(options()).value();
    EXPECT_EQ(Isolation::start(options()).error().code(), Errc::conflict);
  }
  EXPECT_TRUE(Isolation::start(options()).ok());
}

TEST(RegoIsolation, WhatDoesNotServeIsFoundAtTheStart) {
  auto none = options();
  none.program = "/nonexistent/evaluator";
  EXPECT_FALSE(Isolation::start(none).ok());
  none.program = "/bin/true";
  const auto refused = Isolation::start(none);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::unavailable);
  EXPECT_EQ(outcome(*compile("allow := 2 * 3").value()), "6");  // as before
}

// Values that a walk through would never end, in every place where plain policies may have them.
TEST(RegoIsolation, PlainPoliciesMayShareValues) {
  auto patient = options();
  patient.grace = seconds{30};
  const auto isolation = Isolation::start(patient).value();
  const auto share = chain("[1, 2]", "[$, $]", 60);
  for (const auto* rules : {
           "allow if a50", "allow if not a50", "allow if count(a50) == 2", "allow if is_array(a50)", "allow if a50[0][1]", "allow if a50[_][_]",
           "allow if a50[input.a]", "allow if { some x in a50; x }", "allow if { some i, x in a50; x }", "allow if every x in a50 { x }",
           "allow if { x := a50; y := x[0]; count(y) == 2 }", "allow if count([x | some x in a50]) == 2", "allow if count([a50 | some i in input.l]) == 1",
           "allow if count({1 | some x in a50}) == 1", "allow if { x := {\"k\": a50, \"l\": [a49, a50]}; x.l[1] }", "allow if { x := {\"k\": a49, \"k\": a50}; x }",
           "c.d := a50\nc.e := a49\nallow if c", "v[\"k\"] := a50\nv[\"l\"] := a49\nallow if count(v) == 2", "c := a50 if input.a\nallow if c",
           "default c := [1]\nc := a50 if input.a\nallow if c", "c[x] := 1 if some x in input.l\nallow if { c; a50 }", "allow if data.policy.a50[0]",
           "allow if { count(a50[0]) + 1 > 2 }", "allow if a50[0] \nallow if a49[1]", "allow if object.get(input, \"a\", 1)",
       }) {
    const auto policy = compile(share + rules, {.time = seconds{30}});
    ASSERT_TRUE(policy.ok()) << rules << ": " << policy.error().text();
    EXPECT_TRUE((*policy)->is_plain()) << rules;
    const Given given{json::Object{{"a", 1}, {"l", json::Array{1, 1}}, {"padding", std::string(Isolation::kPlainInput, 'x')}}, {}, {}};
    for (const auto explain : {Explain::no, Explain::yes}) {
      const auto evaluation = (*policy)->evaluate(given, explain);
      EXPECT_TRUE(evaluation.ok()) << rules << ": " << (evaluation ? "" : evaluation.error().text());
      ASSERT_EQ(isolation->lost(), 0U) << rules;
    }
  }
}

/// Policies of what plain ones have and what they have not, at random; with `bombs` also of what grows fast.
class Generator {
 public:
  explicit Generator(unsigned seed, bool bombs = false) : random_{seed}, bombs_{bombs} {}
  std::string policy() {
    std::string out;
    const int rules = 3 + pick(30);
    for (int i = 0; i < rules; ++i) out += rule("r" + std::to_string(i), i) + '\n';
    return out + "allow " + (pick(2) == 0 ? "if " + condition(rules) : ":= " + expression(rules, 2));
  }

 private:
  int pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  std::string name(int below) { return below == 0 ? "input.l" : "r" + std::to_string(pick(8) != 0 ? below - 1 : pick(below)); }
  std::string expression(int below, int depth) {
    const auto inner = [&] { return depth == 0 ? name(below) : expression(below, depth - 1); };
    if (bombs_ && pick(3) == 0) return growing(name(below));
    switch (pick(11)) {
      case 0: return "input.l";
      case 1: return "[" + inner() + ", " + inner() + "]";
      case 2: return "{\"a\": " + inner() + ", \"b\": " + inner() + "}";
      case 3: return "[" + (pick(2) == 0 ? std::string{"x"} : name(below)) + " | some x in " + name(below) + "]";
      case 4: return "{x | some x in " + name(below) + "}";
      case 5: return "count(" + inner() + ")";
      case 6: return "input.n + " + (pick(4) == 0 ? inner() : std::string{"1"});
      case 7: return name(below) + "[0]";
      default: return name(below);
    }
  }
  std::string growing(const std::string& from) {
    switch (pick(10)) {
      case 0: return "array.concat(" + from + ", " + from + ")";
      case 1: return "json.marshal(" + from + ")";
      case 2: return "sprintf(\"%v%v\", [" + from + ", " + from + "])";
      case 3: return "base64.encode(json.marshal(" + from + "))";
      case 4: return "product([12345678901 | some _ in numbers.range(1, " + std::to_string(1 << pick(17)) + ")])";
      case 5: return "sort(" + from + ")";
      case 6: return "{" + from + ", [" + from + "]}";
      case 7: return "[x | some x in " + from + "; some _ in numbers.range(1, 100)]";
      case 8: return "(count(" + from + ") + 12345678901) * 98765432109";
      default: return "{\"k\": " + from + "} | {\"k\"}";
    }
  }
  std::string condition(int below) {
    switch (pick(6)) {
      case 0: return name(below);
      case 1: return name(below) + " == " + name(below);
      case 2: return "count(" + name(below) + ") > 1";
      case 3: return "input.n in " + name(below);
      case 4: return "input.n > 1";
      default: return "every x in input.l { x == " + name(below) + " }";
    }
  }
  std::string rule(const std::string& head, int below) {
    switch (pick(7)) {
      case 0: return head + " contains x if some x in " + name(below);
      case 1: return head + " := " + expression(below, 1) + " if { " + condition(below) + " }";
      case 2: return head + " := x if { some x in " + name(below) + "; " + condition(below) + " }";
      default: return head + " := " + expression(below, 1);
    }
  }
  std::mt19937 random_;
  bool bombs_;
};

TEST(RegoIsolation, PoliciesAtRandomEnd) {
  const auto isolation = Isolation::start(options()).value();
  const Given given{json::Object{{"l", json::Array{1, json::Array{2, "text"}}}, {"n", 3}}, {}, {}};
  int evaluated = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    const auto policy = compile(Generator{seed, true}.policy(), {.time = milliseconds{50}});
    if (!policy) continue;
    ++evaluated;
    const auto evaluation = (*policy)->evaluate(given);
    if (evaluation) continue;
    const auto code = evaluation.error().code();
    // `internal`: the engine panics over numbers that it cannot write.
    EXPECT_TRUE(code == Errc::deadline_exceeded || code == Errc::limit_exceeded || code == Errc::policy_evaluation_failed ||
                code == Errc::internal)
        << evaluation.error().text() << ": " << Generator{seed, true}.policy();
  }
  EXPECT_GE(evaluated, 50);
  EXPECT_EQ(outcome(*compile("allow := 2 * 3", {.time = seconds{30}}).value()), "6");
}

// What `is_plain` claims: the engine's own look at the clock ends it. Asked of processes, which would be killed else.
TEST(RegoIsolation, PlainPoliciesEndByThemselves) {
  auto patient = options();
  patient.grace = seconds{30};
  json::Array list;
  for (int i = 0; i < 40; ++i) list.push_back(json::Array{i, json::Array{i, "text"}});
  const Given given{json::Object{{"l", list}, {"n", 3}, {"padding", std::string(Isolation::kPlainInput, 'x')}}, {}, {}};
  const auto isolation = Isolation::start(patient).value();
  int plain = 0;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    const auto text = Generator{seed}.policy();
    const auto policy = compile(text, {.time = milliseconds{100}});
    if (!policy || !(*policy)->is_plain()) continue;
    ++plain;
    const auto evaluation = (*policy)->evaluate(given);
    ASSERT_EQ(isolation->lost(), 0U) << text;
  }
  EXPECT_GE(plain, 50);
}

}  // namespace
}  // namespace cloister::rego
