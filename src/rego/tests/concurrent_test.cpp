#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "cloister/rego/cache.hpp"

namespace cloister::rego {
namespace {

namespace json = codec::json;

// The Rust side is not instrumented: this looks at what the C++ side shares, and at every answer.
TEST(PolicyCacheConcurrent, EveryThreadGetsItsOwnAnswers) {
  PolicyCache cache{2};  // fewer than policies, so that they are given up while others evaluate
  const std::array entrypoints{std::string{"data.policy.answer"}};
  const auto work = [&](int thread) {
    for (int i = 0; i < 40; ++i) {
      const int number = (thread + i) % 3;
      const std::array modules{
          Module{"p.rego", "package policy\nanswer := [" + std::to_string(number) + ", input, data.d, query_reference_value(\"r\")]"}};
      const auto policy = cache.get(modules, entrypoints);
      ASSERT_TRUE(policy.ok()) << policy.error().text();
      const Given given{thread, json::Object{{"d", i}}, json::Object{{"r", 100 * thread + i}}};
      const auto evaluation = (*policy)->evaluate(given, i % 4 == 0 ? Explain::yes : Explain::no);
      ASSERT_TRUE(evaluation.ok()) << evaluation.error().text();
      EXPECT_EQ(*evaluation->find("data.policy.answer"), (json::Value{json::Array{number, thread, i, 100 * thread + i}}));
    }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) threads.emplace_back(work, thread);
  for (auto& thread : threads) thread.join();
  EXPECT_LE(cache.size(), 2U);
}

// The limit is the process's: beside those that stay just below it, another would be refused for the little that it needs.
TEST(CompiledPolicyConcurrent, NobodyIsRefusedForWhatOthersHold) {
  Limits limits;
  const auto compiled = [&limits](const std::string& rules) {
    const auto text = "package policy\nk := concat(\"\", [\"0123456789\" | numbers.range(1, 10000)[_]])\n" + rules;
    return CompiledPolicy::compile(std::array{Module{"p.rego", text}}, std::array{std::string{"data.policy.answer"}}, limits).value();
  };
  const auto holds = compiled(R"(
held := [concat("", [k, sprintf("%d", [i])]) | some i in numbers.range(1, 250)]
answer := count([1 | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j == count(held)])
)");
  limits.time = std::chrono::seconds{30};  // it is about memory, however slow the machine is
  const auto modest = compiled("answer := count([x | some i in numbers.range(1, 150); x := concat(\"\", [k, sprintf(\"%d\", [i])])])\n");
  set_memory_limit(64U << 20);
  std::atomic<bool> done = false;
  std::vector<std::thread> beside;  // always one of them at least, so that nobody waits for a pause
  for (int thread = 0; thread < 2; ++thread) {
    beside.emplace_back([&] {
      while (!done) EXPECT_FALSE(holds->evaluate({}).ok());
    });
  }
  for (int i = 0; i < 10; ++i) {
    const auto evaluation = modest->evaluate({});
    EXPECT_TRUE(evaluation.ok()) << evaluation.error().text();
    EXPECT_EQ(*compiled("answer := 1")->evaluate({}).value().find("data.policy.answer"), json::Value{1});
    EXPECT_EQ(evaluation.ok() ? *evaluation->find("data.policy.answer") : json::Value{}, json::Value{150});
  }
  done = true;
  for (auto& thread : beside) thread.join();
  set_memory_limit(256U << 20);
}

}  // namespace
}  // namespace cloister::rego
