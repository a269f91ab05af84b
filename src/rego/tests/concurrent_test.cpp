#include <gtest/gtest.h>

#include <array>
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

}  // namespace
}  // namespace cloister::rego
